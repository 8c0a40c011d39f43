"""What can go wrong at an LLM server, in words: what ends the run, and what another attempt may cure.

A refused key, an unknown model and a request the server will never accept raise LLMError; all else is
`UnansweredError`. Texts never hold the key, even where a server quotes it.
"""

import json
import math
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from neuroscribe.errors import LLMError
from neuroscribe.replies import Usage
from resources.llm_endpoints import Endpoint

if TYPE_CHECKING:
    import httpx2

_CONTENT_FILTERS = ("content_filter", "content_policy_violation", "invalid_prompt")
_SHOWN = 300  # characters of a server's own words
_PASSING = (408, 409, 429)  # with 5xx, what another attempt may cure
_DOWN = (502, 503)


class UnansweredError(Exception):
    """A request without a usable answer, which another attempt may bring; the text is what came instead."""

    def __init__(
        self,
        text: str,
        *,
        down: bool = False,
        billed: bool = False,
        retry_after_s: float | None = None,
        unreachable: str = "",
    ) -> None:
        super().__init__(text)
        self.down = down
        """Whether the server seems to be down, and not this request at fault."""
        self.billed = billed
        """Whether the server may have worked, and charge for it."""
        self.retry_after_s = retry_after_s
        """How long the server asks to wait, if it does."""
        self.usage = Usage()
        """What all attempts took."""
        self.unreachable = unreachable
        """Where no connection was made at all: that, with the remedy."""


class WithheldError(Exception):
    """A prompt that the server's content filter turned away; the text is the server's."""


class RejectedError(LLMError):
    """A request that the server will never accept as it is."""

    def __init__(self, message: str, *, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


def of_status(response: "httpx2.Response", endpoint: Endpoint) -> Exception:
    """Return what an HTTP error status means for the run."""
    status, text = response.status_code, response.content.decode(errors="replace")
    sent = _sent(text)
    # Cut last: of a key that is cut in two, half would stay.
    said = endpoint.without_key(_said(sent or text))[:_SHOWN]
    code = sent.get("code") if isinstance(sent, Mapping) else None
    if code in _CONTENT_FILTERS or (status == 403 and _is_flagged(sent)):
        return WithheldError(said)
    if code == "insufficient_quota" or status == 402:
        return LLMError(f"the account at {endpoint.url} has no credit left ({said}); top it up and run again")
    if status in _PASSING or (status >= 500 and status != 501):
        return UnansweredError(
            f"HTTP {status}: {said}",
            down=status in _DOWN,
            retry_after_s=retry_after_s(response.headers, now=time.time()),
        )
    place = endpoint.place
    if status in (401, 403):
        refused = "refused the key" if endpoint.key else "asks for a key, and none was given"
        return LLMError(
            f"{endpoint.url} {refused} (HTTP {status}: {said}); set {place.key_variable} to a valid one"
        )
    if status == 404:
        remedy = f"check the model's name in the study's {place.section}; and the address mostly ends in /v1"
    else:
        remedy = f"change the study's {place.section} so that the server accepts it"
    message = f"{endpoint.url} rejects requests for {endpoint.model} (HTTP {status}: {said}); {remedy}"
    return RejectedError(message, status=status, said=said)


def of_connection(cause: Exception, endpoint: Endpoint) -> UnansweredError:
    """Return what a connection without a whole answer means for the run."""
    import httpx2

    found = endpoint.without_key(f"{type(cause).__name__}: {cause}".rstrip(": "))
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        remedy = (
            f"no LLM server answers at {endpoint.url} ({found}); start it, or correct base_url in the study's"
            f" {endpoint.place.section} or {endpoint.place.url_variable}"
        )
        return UnansweredError(f"no answer: {found}", down=True, unreachable=remedy)
    # Time-outs and bytes that cannot be unpacked may be this request's fault; cut connections are not.
    own = isinstance(cause, httpx2.TimeoutException | httpx2.DecodingError | httpx2.TooManyRedirects)
    return UnansweredError(f"no answer: {found}", down=not own, billed=True)


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds that a server asks to wait, in whichever of three forms it says so.

    Those are milliseconds (`retry-after-ms`), seconds and an HTTP date (RFC 9110, section 10.2.3), which is
    read against the server's own clock if it tells it, else against `now`, in seconds since 1970.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    sent = headers.get("retry-after")
    seconds, date, there = _number(sent), _date(sent), _date(headers.get("date"))
    if seconds is None and date is not None:
        seconds = max(0.0, date - (now if there is None else there))
    return seconds


def _number(sent: str | None) -> float | None:
    try:
        value = float(sent or "")
    except ValueError:
        return None
    return value if 0 <= value < math.inf else None


def _date(sent: str | None) -> float | None:
    try:
        return parsedate_to_datetime(sent or "").timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def without_logprobs(refusal: RejectedError | UnansweredError) -> str:
    """Return why a server will not give log-probabilities; any other refusal is raised again.

    An answer that was cut off mentions them too: that is no refusal.
    """
    if isinstance(refusal, UnansweredError) and refusal.billed:
        raise refusal
    said = refusal.said if isinstance(refusal, RejectedError) else str(refusal)
    unknown = isinstance(refusal, RejectedError) and refusal.status in (404, 405, 501)
    if unknown or any(word in said.lower() for word in ("echo", "logprob", "logits_all")):
        return said
    raise refusal


def _is_flagged(sent: object) -> bool:
    """Tell whether a server turned away the prompt and not the key: OpenRouter then sends why it was flagged.

    Source: its API's reference, "Errors and debugging", on moderation.
    """
    metadata = sent.get("metadata") if isinstance(sent, Mapping) else None
    return isinstance(metadata, Mapping) and bool({"reasons", "flagged_input"} & set(metadata))


def _sent(text: str) -> object:
    """Return the error that a server sent as JSON, or None."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return body.get("error", body) if isinstance(body, Mapping) else body


def _said(sent: object) -> str:
    """Return a server's own words in one line."""
    if isinstance(sent, Mapping):
        sent = sent.get("message") or sent.get("detail") or sent
    return " ".join(str(sent or "no reason given").split())
