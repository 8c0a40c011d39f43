"""What stands before Dagster's web server: requests of other web pages in the user's browser end here.

Dagster itself answers everybody who reaches its port: any page that the user opens could launch runs, also
under a name of its own that it points at this machine. Who is not in a browser may say what a guard wants to
hear; against those only a login helps (README.md).
"""

from collections.abc import Collection, Iterator
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

VARIABLE = "NEUROSCRIBE_UI_HOSTS"
_GRAPHQL = "/graphql"


class Guard:
    """Hands on to an ASGI app what comes from its own pages, or from no page at all."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        """Take the hosts, each with its port unless that is the usual one, under which the app is reached."""
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 with the reason, or let the app answer."""
        refusal = None if scope["type"] == "lifespan" else next(self._refusals(scope), None)
        if refusal is None:
            await self._app(scope, receive, _unframed(send))
        elif scope["type"] == "websocket":
            await WebSocketClose(code=1008, reason=refusal)(scope, receive, send)
        else:
            await PlainTextResponse(f"{refusal}\n", status_code=403)(scope, receive, send)

    def _refusals(self, scope: Scope) -> Iterator[str]:
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            yield f"Host {_shown(hosts)} is not this server's; if it is, name it in {VARIABLE}"
        if not all(self._is_ours(origin) for origin in origins):
            yield f"Origin {_shown(origins)} is another web page; if not, name its host in {VARIABLE}"
        same = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        if not (same or _is_visit(scope, headers)):
            yield "the request was made by another web page"
        if scope["type"] == "http":
            yield from _refused_methods(scope["method"], scope["path"], headers)

    def _is_ours(self, origin: str) -> bool:
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in ("http", "https") and parts.netloc.lower() in self._hosts


def _unframed(send: Send) -> Send:
    """Add to every answer that pages of others may not hold it in a frame, where they could lead clicks."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["x-frame-options"] = "SAMEORIGIN"
        await send(message)

    return sending


def _is_visit(scope: Scope, headers: Headers) -> bool:
    """Tell whether the user follows a link, which shows a page to nobody but the user."""
    wanted = {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    is_get = scope["type"] == "http" and scope["method"] == "GET"
    return is_get and all(headers.get(name) == value for name, value in wanted.items())


def _refused_methods(method: str, path: str, headers: Headers) -> Iterator[str]:
    """Yield why a request might do something without being what Dagster's own page sends."""
    is_graphql = path.rstrip("/").endswith(_GRAPHQL)
    # Dagster decides in the same way between the page for queries and a query in the address.
    if method in ("GET", "HEAD"):
        if is_graphql and not (method == "GET" and "text/html" in headers.get("accept", "")):
            yield "GraphQL is asked by POST"
    elif method != "POST" or not is_graphql:
        yield f"{method} {path!r} is not allowed: runs are launched, and assets reported, by GraphQL"
    elif _media_types(headers) != ["application/json"]:
        yield f"Content-Type {_shown(headers.getlist('content-type'))} is not application/json"


def _media_types(headers: Headers) -> list[str]:
    """Return what a body is said to be, without parameters such as its charset."""
    return [value.partition(";")[0].strip().lower() for value in headers.getlist("content-type")]


def _shown(values: list[str]) -> str:
    """Return a header's values for a message."""
    return ", ".join(repr(value) for value in values) or "(none)"
