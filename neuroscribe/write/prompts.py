"""The wording by which sentences are written: the prompt for an LLM, and frames to be filled in."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import unforged

PHRASE = "{phrase}"
"""Where a frame takes its token or phrase."""


def wording_identity(layout: str) -> str:
    """Return version and content hash of a layout's wording."""
    data = wording()[layout]
    return f"{layout} wording v{data['version']} {fingerprint(data)[:8]}"


@cache
def wording() -> dict[str, Any]:
    """Return the wordings of all layouts."""
    return tomllib.loads(files("neuroscribe.write").joinpath("prompts.toml").read_text(encoding="utf-8"))


def writing_messages(layout: str, explanation: str, count: int) -> tuple[Message, ...]:
    """Return the prompt that asks for `count` sentences written from an explanation.

    The last message begins the answer with the number of the first one.
    """
    data = wording()[layout]
    # Not str.format: explanations may hold braces. The explanation goes last, so that none of them counts.
    asked = data["question"].replace("{count}", str(count)).replace("{explanation}", unforged(explanation))
    instruction = Message("system", data["instruction"].strip())
    return instruction, Message("user", asked), Message("assistant", data["stub"])


def frames(layout: str) -> tuple[str, ...]:
    """Return the sentences in which a token or phrase takes the place of PHRASE."""
    return tuple(wording()[layout]["frames"])
