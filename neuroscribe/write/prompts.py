"""The wording by which sentences are written: the prompt for an LLM, and frames to be filled in."""

import tomllib
from collections.abc import Mapping
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
    instruction = Message("system", data["instruction"].strip())
    worked = [message for example in data["example"] for message in _worked(data["question"], example)]
    asked = Message("user", _asked(data["question"], explanation, count))
    return instruction, *worked, asked, Message("assistant", data["stub"])


def _worked(question: str, example: Mapping[str, Any]) -> tuple[Message, Message]:
    """Return a question with its answer on one line: so end answers of models that continue a text."""
    passages = example["passages"]
    answer = " | ".join(f"{number}. {passage}" for number, passage in enumerate(passages, 1))
    asked = _asked(question, example["explanation"], len(passages))
    return Message("user", asked), Message("assistant", answer)


def _asked(question: str, explanation: str, count: int) -> str:
    # Not str.format: explanations may hold braces. The explanation goes last, so that none of them counts.
    return question.replace("{count}", str(count)).replace("{explanation}", unforged(explanation))


def frames(layout: str) -> tuple[str, ...]:
    """Return the sentences in which a token or phrase takes the place of PHRASE."""
    return tuple(wording()[layout]["frames"])
