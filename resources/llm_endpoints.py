"""Where an LLM is served, under which name and with which key; the key is in no text that leaves here."""

import json
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, urlsplit

from neuroscribe.errors import CapabilityError, LLMError

_SHORTEST_SECRET = 8  # shorter keys are dummies such as EMPTY, which occur in ordinary text
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
SIMULATING = Place("[simulator_llm]", "NEUROSCRIBE_SIMULATOR_LLM")


@dataclass(frozen=True)
class Endpoint:
    """A model's name, its server's address and the key to it; raises LLMError for what cannot be used."""

    model: str
    url: str
    key: str = field(default="", repr=False)
    place: Place = EXPLAINING

    def __post_init__(self) -> None:
        parts = self._parts()
        if parts.username or parts.password:
            raise LLMError(
                f"the address of the LLM server at {parts.hostname} holds a name or a password, which logs"
                f" would show; take it out and set {self.place.key_variable}"
            )
        if not all("!" <= character <= "~" for character in self.key):
            raise LLMError(
                f"the key for {self.url} holds a space, a line break or a letter that no key has;"
                f" set {self.place.key_variable} again"
            )

    @property
    def is_local(self) -> bool:
        """Whether the server runs on this machine, where no proxy leads."""
        host = urlsplit(self.url).hostname or ""
        return host in ("localhost", "::1") or host.startswith("127.")

    def without_key(self, text: str) -> str:
        """Return `text` with the key blotted out, as it is and as JSON may spell it."""
        if len(self.key) < _SHORTEST_SECRET:
            return text
        escaped = json.dumps(self.key)[1:-1]
        for spelling in (self.key, escaped, escaped.replace("/", r"\/")):
            text = text.replace(spelling, "[key]")
        return text

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
        wrong = re.search(r"[\x00-\x20\x7f]", self.url)
        if not parts or parts.scheme not in ("http", "https") or not host or wrong:
            shown = _NAME_AND_PASSWORD.sub(r"\1[hidden]@", self.url)
            raise LLMError(
                f"the address of the LLM server, {shown!r}, is not one; write it like"
                f" http://127.0.0.1:8000/v1 as base_url in the study's {self.place.section} or in"
                f" {self.place.url_variable}"
            )
        return parts
