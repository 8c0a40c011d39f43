"""What can go wrong at an LLM server, sorted into what ends the run and what is a failed reply, in words.

A refused key, an unknown model, a request the server will never accept and an address where nobody answers
raise LLMError; all else is `UnansweredError`. Texts never hold the key, even where a server quotes it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

from neuroscribe.errors import CapabilityError, LLMError

if TYPE_CHECKING:
    import openai

KEY_VARIABLE = "NEUROSCRIBE_LLM_API_KEY"
_SHORTEST_SECRET = 8  # shorter keys are dummies such as EMPTY, which occur in ordinary text
_CONTENT_FILTERS = ("content_filter", "content_policy_violation")
_NAME_AND_PASSWORD = re.compile(r"^([\w+.-]+://)?.*@", re.DOTALL)
_PASSING = (408, 409, 429)  # with 5xx, what another attempt may cure


class UnansweredError(Exception):
    """A request without a usable answer after every attempt; the text is what came instead."""


class WithheldError(Exception):
    """A prompt that the server's content filter turned away; the text is the server's."""


class RejectedError(LLMError):
    """A request that the server will never accept as it is."""

    def __init__(self, message: str, *, status: int, said: str) -> None:
        super().__init__(message)
        self.status = status
        self.said = said


@dataclass(frozen=True)
class Endpoint:
    """A model's name, its server's address and the key to it; raises LLMError for what cannot be used."""

    model: str
    url: str
    key: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        parts = _parts(self.url)
        if parts.username or parts.password:
            raise LLMError(
                f"the address of the LLM server at {parts.hostname} holds a name or a password, which logs"
                f" would show; take it out and set {KEY_VARIABLE}"
            )
        if not all("!" <= character <= "~" for character in self.key):
            raise LLMError(
                f"the key for {self.url} holds a space, a line break or a letter that no key has;"
                f" set {KEY_VARIABLE} again"
            )

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine, where no proxy leads."""
        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def without_key(self, text: str) -> str:
        """Return `text` with the key blotted out."""
        return text.replace(self.key, "[key]") if len(self.key) >= _SHORTEST_SECRET else text

    def incapable(self, missing: str) -> CapabilityError:
        """Return the error for a server without echoed log-probabilities."""
        return CapabilityError(
            f"{self.url} cannot score prompts with {self.model}: {self.without_key(missing)}. The simulator"
            " all_at_once needs a completion server that echoes the prompt with log-probabilities, such as"
            ' vLLM; or set provider = "local" in the study\'s [llm], or use the simulator embedding only'
        )


def _parts(url: str) -> SplitResult:
    """Return the parts of an address; raises LLMError, without any password, for one that is none."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # read for its error
        host = (parts.hostname or "").encode("idna")
    except ValueError:
        parts, host = None, b""
    # urlsplit leaves line breaks and tabs out without a word; the client does not.
    if not parts or parts.scheme not in ("http", "https") or not host or re.search(r"[\x00-\x20\x7f]", url):
        shown = _NAME_AND_PASSWORD.sub(r"\1[hidden]@", url)
        raise LLMError(
            f"the address of the LLM server, {shown!r}, is not one; write it like http://127.0.0.1:8000/v1 as"
            " base_url in the study's [llm] or in NEUROSCRIBE_LLM_BASE_URL"
        )
    return parts


def of_status(error: "openai.APIStatusError", endpoint: Endpoint) -> Exception:
    """Return what an HTTP error status means for the run."""
    status, said = error.status_code, endpoint.without_key(_said(error))
    if error.code in _CONTENT_FILTERS:
        return WithheldError(said)
    if error.code == "insufficient_quota" or status == 402:
        return LLMError(f"the account at {endpoint.url} has no credit left ({said}); top it up and run again")
    if status in _PASSING or (status >= 500 and status != 501):
        return UnansweredError(f"HTTP {status}: {said}")
    if status in (401, 403):
        refused = "refused the key" if endpoint.key else "asks for a key, and none was given"
        return LLMError(
            f"{endpoint.url} {refused} (HTTP {status}: {said}); set {KEY_VARIABLE} to a valid one"
        )
    if status == 404:
        remedy = "check the model's name in the study's [llm], and the address, which mostly ends in /v1"
    else:
        remedy = "change the study's [llm] so that the server accepts it"
    message = f"{endpoint.url} rejects requests for {endpoint.model} (HTTP {status}: {said}); {remedy}"
    return RejectedError(message, status=status, said=said)


def of_connection(error: "openai.APIConnectionError", endpoint: Endpoint) -> Exception:
    """Return what a connection without an answer means for the run."""
    import httpx2

    cause = error.__cause__
    found = endpoint.without_key(f"{type(cause).__name__}: {cause}".rstrip(": "))
    if isinstance(cause, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.ProxyError):
        return LLMError(
            f"no LLM server answers at {endpoint.url} ({found}); start it, or correct base_url in the study's"
            " [llm] or NEUROSCRIBE_LLM_BASE_URL"
        )
    return UnansweredError(f"no answer: {found}")


def without_echo(refusal: RejectedError | UnansweredError) -> str:
    """Return why a server will not echo log-probabilities; any other refusal is raised again."""
    said = refusal.said if isinstance(refusal, RejectedError) else str(refusal)
    unknown = isinstance(refusal, RejectedError) and refusal.status in (404, 405, 501)
    if unknown or any(word in said.lower() for word in ("echo", "logprob", "logits_all")):
        return said
    raise refusal


def _said(error: "openai.APIStatusError") -> str:
    """Return a server's own words in one short line."""
    body = error.body
    if isinstance(body, Mapping):
        body = body.get("message") or body.get("detail") or body
    return " ".join(str(body or error.response.text or "no reason given").split())[:300]
