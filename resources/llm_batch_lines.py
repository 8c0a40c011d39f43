"""The lines of a batch job: requests as they are uploaded, and answers as they come back (JSON Lines).

Pure: text in, port records out. A line that answers no request is left out, and of several that answer the
same one the first counts.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.replies import Reply
from resources.llm_prices import Prices
from resources.llm_wire import Body, failed, mapping, read_reply, read_usage

_WITHHELD = ("content_filter", "content_policy_violation")


@dataclass(frozen=True)
class BatchRequest:
    """One request of a job, named by its content."""

    path: str
    """Below /v1."""
    body: Mapping[str, Any]
    characters: int
    """Of the prompt."""
    max_tokens: int

    @property
    def custom_id(self) -> str:
        """Content hash of what is asked; two jobs that ask the same give it the same name."""
        return fingerprint("batch request", self.path, self.body)

    @property
    def line(self) -> str:
        """The request as a line of the job's input."""
        return json.dumps(
            {"custom_id": self.custom_id, "method": "POST", "url": f"/v1{self.path}", "body": self.body}
        )


def has_answers(text: str) -> bool:
    """Tell whether some line answers a request."""
    return any(isinstance(_object(line).get("custom_id"), str) for line in text.split("\n"))


def read_answers(texts: Iterable[str], *, prices: Prices) -> dict[str, Reply]:
    """Return the replies by `custom_id` from a job's output and error files."""
    found: dict[str, Reply] = {}
    # Only a line feed ends a line: JSON may hold U+2028 and the like, at which splitlines would cut as well.
    for line in (line for text in texts for line in text.split("\n")):
        entry = _object(line)
        custom_id = entry.get("custom_id")
        if isinstance(custom_id, str) and custom_id not in found:
            found[custom_id] = _reply(entry, line, prices)
    return found


def _reply(entry: Mapping[str, Any], line: str, prices: Prices) -> Reply:
    response = mapping(entry.get("response"))
    answer = mapping(response.get("body"))
    if response.get("status_code") == 200 and not entry.get("error"):
        body = Body(json.dumps(answer))
        return read_reply(body, read_usage(body, prices=prices))
    code = mapping(answer.get("error")).get("code")
    return failed(line, status="refused" if code in _WITHHELD else "failed")


def _object(line: str) -> dict[str, Any]:
    try:
        return mapping(json.loads(line))
    except (ValueError, RecursionError):
        return {}
