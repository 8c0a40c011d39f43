"""What a server says is wrong: under an error status, or under a success, as gateways do.

Whatever is sent is taken as data of any shape.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

_PLACES = ("status", "code", "status_code", "http_status", "type")
"""Where an error may name its HTTP status, by number or by a name."""
_NAMES = {
    **dict.fromkeys(
        ("rate_limit_error", "rate_limit_exceeded", "resource_exhausted", "too_many_requests"), 429
    ),
    **dict.fromkeys(("unavailable", "service_unavailable"), 503),
    **dict.fromkeys(("authentication_error", "invalid_api_key", "unauthenticated", "unauthorized"), 401),
    **dict.fromkeys(("permission_error", "permission_denied"), 403),
    **dict.fromkeys(("not_found", "not_found_error", "model_not_found"), 404),
    **dict.fromkeys(("invalid_request_error", "invalid_argument", "bad_request"), 400),
    **dict.fromkeys(("api_error", "server_error", "internal", "internal_server_error"), 500),
    "overloaded_error": 529,
    "deadline_exceeded": 504,
    "billing_error": 402,
}
"""The names that OpenAI, Anthropic and Google have for statuses."""


def sent_error(text: str) -> object:
    """Return the error in a body under an error status, or the body itself where it has another form."""
    body = _json(text)
    return (body.get("error") or body if isinstance(body, Mapping) else body) or text


def error_in_success(text: str) -> object:
    """Return the error that a body under a success is, or None."""
    if '"error"' not in text:
        return None
    body = _json(text)
    if not isinstance(body, Mapping):
        return None
    is_error = "error" in (body.get("object"), body.get("type"))
    return body.get("error") or (body if is_error else None)


def told_status(error: object) -> int | None:
    """Return the HTTP status that an error names, by number before by name; None where it names none."""
    told = [error.get(place) for place in _PLACES] if isinstance(error, Mapping) else []
    return next(chain(_numbers(told), _named(told)), None)


def said(error: object) -> str:
    """Return a server's own words in one line."""
    words: Any = error
    if isinstance(error, Mapping):
        words = error.get("message") or error.get("detail") or error
    try:
        return " ".join(str(words or "no reason given").split())
    except RecursionError:
        return "an error nested too deeply to be shown"


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _numbers(told: Sequence[object]) -> Iterator[int]:
    digits = (str(value) for value in told if isinstance(value, int | str))
    return (int(each) for each in digits if re.fullmatch("[45][0-9][0-9]", each))


def _named(told: Sequence[object]) -> Iterator[int]:
    names = (value.lower() for value in told if isinstance(value, str))
    return (_NAMES[name] for name in names if name in _NAMES)
