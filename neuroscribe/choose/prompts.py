"""The prompts of choosing scorers: instruction, worked examples, the explanation, and the options by number.

Wording is data: `prompts.toml`.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import escaped, unforged


def prompt_identity(layout: str) -> str:
    """Return version and content hash of a layout's wording; part of every choice's identity."""
    data = wording()[layout]
    return f"{layout} prompt v{data['version']} {fingerprint(data)[:8]}"


@cache
def wording() -> dict[str, Any]:
    """Return the wordings of all layouts."""
    return tomllib.loads(files("neuroscribe.choose").joinpath("prompts.toml").read_text(encoding="utf-8"))


def choosing_messages(layout: str, explanation: str, options: Sequence[Sequence[bytes]]) -> list[Message]:
    """Return the question which option is meant; each option is some texts.

    Every text stands in a line of its own after a dash, so that none begins one. The last message begins the
    answer.
    """
    data = wording()[layout]
    turns = [Message("system", data["instruction"].strip())]
    for example in data["example"]:
        shown = _question(data, example["explanation"], example["options"])
        turns += [Message("user", shown), Message("assistant", f"{data['stub']} {example['answer']}")]
    texts = [[unforged(escaped(text)) for text in option] for option in options]
    turns.append(Message("user", _question(data, unforged(explanation), texts)))
    return [*turns, Message("assistant", data["stub"])]


def _question(data: dict[str, Any], explanation: str, options: Sequence[Sequence[str]]) -> str:
    shown = "\n".join(
        "\n".join([data["option"].replace("{number}", str(number)), *(f"- {text}" for text in texts)])
        for number, texts in enumerate(options, start=1)
    )
    # Not str.format: explanations and texts may hold braces.
    opening, _, closing = data["question"].partition("{options}")
    return opening.replace("{explanation}", explanation) + shown + closing
