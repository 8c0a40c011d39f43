"""Addresses of LLM servers: the one that a user gives, and those of requests, which lie below it.

A query, as Azure's `?api-version=...`, stays behind the path.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def base_address(given: str, paths: Iterable[str]) -> str:
    """Return an address without what people paste with it: white space, closing slashes, a request's path."""
    place, mark, query = given.strip().partition("?")
    place = place.rstrip("/")
    for path in paths:
        place = place.removesuffix(path).rstrip("/")
    return f"{place}{mark}{query}" if query else place


def below(base: str, path: str) -> str:
    """Return the address of a path, which may have a query of its own, below a server's address."""
    place, _, kept = base.partition("?")
    path, _, own = path.partition("?")
    query = "&".join(each for each in (kept, own) if each)
    return place.rstrip("/") + path + (f"?{query}" if query else "")


def above(address: str, path: str) -> str | None:
    """Return the server's address that has `path` at an address; None if it does not end so."""
    place, mark, query = address.partition("?")
    path, _, own = path.partition("?")
    if not place.endswith(path):
        return None
    kept = query.removesuffix(own).removesuffix("&") if own else query
    return place.removesuffix(path) + (mark + kept if kept else "")


def is_same_server(here: str, there: str) -> bool:
    """Tell whether two addresses are those of one server, be it with encryption at the second only."""
    try:
        one, other = urlsplit(here), urlsplit(there)
        ports = tuple((each.scheme, each.port or _PORTS.get(each.scheme)) for each in (one, other))
    except ValueError:  # no address, or a port beyond the last
        return False
    if one.hostname != other.hostname:
        return False
    return ports[0] == ports[1] or ports == tuple(_PORTS.items())
