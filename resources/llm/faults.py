"""LLM servers, and what can go wrong there: what ends the run, and what another attempt may cure.

A refused key, an unknown model and a request the server will never accept raise LLMError; all else is
`UnansweredError`. Texts never hold a secret, even where a server quotes it.
"""

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from neuroscribe.errors import CapabilityError, LLMError
from neuroscribe.ports.replies import Usage
from neuroscribe.secrets.addresses import fault_of
from neuroscribe.secrets.known import blotted, know, without_secrets
from resources.llm.charsets import decoded
from resources.llm.error_bodies import error_in_success, said, sent_error, told_status

if TYPE_CHECKING:
    import httpx2

    from resources.llm.wires import Wire

_NAME_AND_PASSWORD = re.compile(r"^([\w+.-]+://)?.*@", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """Where a user says which server is asked."""

    section: str
    """Table of the study."""
    variables: str
    """How the names of the environment variables begin."""

    @property
    def url_variable(self) -> str:
        """The variable that names the address."""
        return f"{self.variables}_BASE_URL"

    @property
    def key_variable(self) -> str:
        """The variable that names the key."""
        return f"{self.variables}_API_KEY"


EXPLAINING = Place("[llm]", "NEUROSCRIBE_LLM")
PARAPHRASING = Place("[paraphraser_llm]", "NEUROSCRIBE_PARAPHRASER_LLM")
SIMULATING = Place("[simulator_llm]", "NEUROSCRIBE_SIMULATOR_LLM")


@dataclass(frozen=True)
class Endpoint:
    """A model, its server's address, how that is asked, and the key; raises LLMError for unusable ones."""

    model: str
    url: str
    wire: "Wire"
    key: str = field(default="", repr=False)
    place: Place = EXPLAINING

    def __post_init__(self) -> None:
        parts = self._parts()
        if parts.username or parts.password:
            raise LLMError(
                f"the address of the LLM server at {parts.hostname} holds a name or a password, which logs"
                f" would show; take it out and set {self.place.key_variable}"
            )
        if fault := fault_of(self.url):
            raise LLMError(f"the address of the LLM server, {fault}")
        if not all("!" <= character <= "~" for character in self.key):
            raise LLMError(
                f"the key for {self.url} holds a space, a line break or a letter that no key has;"
                f" set {self.place.key_variable} again"
            )
        know(self.key)

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine, where no proxy leads."""
        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def without_key(self, text: str) -> str:
        """Return `text` with the key, and all other secrets of this process, blotted out in any spelling."""
        return blotted(text)

    def incapable(self, what: str, missing: str) -> CapabilityError:
        """Return the error for a server that cannot do `what`, and how that was found."""
        return CapabilityError(f"{self.url} cannot {what} with {self.model}: {self.without_key(missing)}")

    def _parts(self) -> SplitResult:
        """Return the parts of the address; raises LLMError, without any password, for one that is none."""
        try:
            parts = urlsplit(self.url)
            _ = parts.port  # read for its error
            host = (parts.hostname or "").encode("idna")
        except ValueError:
            parts, host = None, b""
        # urlsplit leaves line breaks and tabs out without a word; the client does not.
        wrong = re.search(r"[\x00-\x20\x7f#]", self.url)
        if not parts or parts.scheme not in ("http", "https") or not host or wrong:
            shown = _NAME_AND_PASSWORD.sub(r"\1[hidden]@", self.url)
            raise LLMError(
                f"the address of the LLM server, {shown!r}, is not one; name {self.wire.speaks}"
                f" as base_url in the study's {self.place.section} or in {self.place.url_variable}"
            )
        return parts


_SHOWN, _SEARCHED = 300, 10_000  # characters of a server's own words
_PASSING = (408, 409, 429)  # with 5xx, what another attempt may cure
_DOWN = (502, 503, 529)
_NOT_READY = (503, 529)


class UnansweredError(Exception):
    """A request without a usable answer, which another attempt may bring; the text is what came instead."""

    def __init__(
        self,
        text: str,
        *,
        down: bool = False,
        not_ready: bool = False,
        billed: bool = False,
        retry_after_s: float | None = None,
        unreachable: str = "",
    ) -> None:
        super().__init__(text)
        self.down = down
        """Whether the server seems to be down, and not this request at fault."""
        self.not_ready = not_ready
        """Whether the server itself says that it will be well, as while it loads its model."""
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

    def __init__(self, message: str, *, status: int, said: str, sent: object = None) -> None:
        super().__init__(message)
        self.status = status
        self.said = said
        self.sent = sent
        """The server's whole error, as far as it was JSON; never shown, for it may quote the key."""


def of_status(response: "httpx2.Response", endpoint: Endpoint) -> Exception:
    """Return what an HTTP error status means for the run."""
    error = sent_error(decoded(response.content, response.charset_encoding))
    return _of_error(response.status_code, error, response.headers, endpoint)


def of_body(text: str, headers: Mapping[str, str], endpoint: Endpoint) -> Exception | None:
    """Return what a success means whose body is an error, as gateways send them; None for any other body.

    One that names a status is taken as an answer of that status; one of unknown status may pass.
    """
    error = error_in_success(text)
    if error is None:
        return None
    status = told_status(error)
    met = _of_error(status or 200, error, headers, endpoint)
    if isinstance(met, UnansweredError):
        return met if status else UnansweredError(text, billed=True)
    return met


def _of_error(status: int, error: object, headers: Mapping[str, str], endpoint: Endpoint) -> Exception:
    # Cut after secrets are hidden: of a key that is cut in two, half would stay.
    words = without_secrets(said(error)[:_SEARCHED])[:_SHOWN]
    verdict = endpoint.wire.verdict(status, error if isinstance(error, Mapping) else {})
    if verdict == "withheld":
        return WithheldError(words)
    if verdict == "unpaid" or status == 402:
        return LLMError(
            f"the account at {endpoint.url} has no credit left ({words}); top it up and run again"
        )
    if status == 200 or status in _PASSING or (status >= 500 and status != 501):
        return UnansweredError(
            f"HTTP {status}: {words}",
            down=status in _DOWN,
            not_ready=status in _NOT_READY,
            retry_after_s=retry_after_s(headers, now=time.time()),
        )
    place = endpoint.place
    if status in (401, 403):
        refused = "refused the key" if endpoint.key else "asks for a key, and none was given"
        return LLMError(
            f"{endpoint.url} {refused} (HTTP {status}: {words}); set {place.key_variable} to a valid one"
        )
    if status == 404:
        remedy = (
            f"check the model's name in the study's {place.section}, and that the server speaks"
            f" {endpoint.wire.speaks}"
        )
    else:
        remedy = f"change the study's {place.section} so that the server accepts it"
    message = f"{endpoint.url} rejects requests for {endpoint.model} (HTTP {status}: {words}); {remedy}"
    return RejectedError(message, status=status, said=words, sent=error)


def of_connection(cause: Exception, endpoint: Endpoint) -> UnansweredError:
    """Return what a connection without a whole answer means for the run."""
    import httpx2

    fault = without_secrets(f"{type(cause).__name__}: {cause}".rstrip(": "))
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        remedy = (
            f"no LLM server answers at {endpoint.url} ({fault}); start it, or correct base_url in the study's"
            f" {endpoint.place.section} or {endpoint.place.url_variable}"
        )
        return UnansweredError(f"no answer: {fault}", down=True, unreachable=remedy)
    # Time-outs and bytes that cannot be unpacked may be this request's fault; cut connections are not.
    at_fault = isinstance(cause, httpx2.TimeoutException | httpx2.DecodingError)
    return UnansweredError(f"no answer: {fault}", down=not at_fault, billed=True)


def of_redirect(status: int, there: str, base: str | None, endpoint: Endpoint) -> LLMError:
    """Return the error for a server that sends requests on to an address, which lies below `base`."""
    place = endpoint.place
    remedy = f"correct base_url in the study's {place.section} or {place.url_variable}"
    if base:
        remedy = (
            f"if you trust that server, write {base} as base_url in the study's {place.section} or in"
            f" {place.url_variable}"
        )
    return LLMError(
        f"{endpoint.url} sends requests on to {there} (HTTP {status}), and prompts go nowhere unasked;"
        f" {remedy}"
    )


def retry_after_s(headers: Mapping[str, str], *, now: float) -> float | None:
    """Return the seconds that a server asks to wait, in whichever of three forms it says so.

    Those are milliseconds (`retry-after-ms`), seconds and an HTTP date (RFC 9110, section 10.2.3), which is
    read against the server's own clock if it tells it, else against `now`, in seconds since 1970.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    sent = headers.get("retry-after")
    seconds, date, clock = _number(sent), _date(sent), _date(headers.get("date"))
    if seconds is None and date is not None:
        seconds = max(0.0, date - (now if clock is None else clock))
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
