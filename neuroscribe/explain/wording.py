"""The wording of an explainer: instruction, worked examples and the beginning of the answer, as data.

Every kind that asks an LLM has a file named after it. A prompt begins with what all neurons of an explainer
share, so that servers with a prefix cache read that once; the neuron comes last.
"""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from neuroscribe.ports.replies import Message

AnswerForm = Literal["line", "schema"]
ANSWERS = "answers"
"""The data file that says how answers are asked for."""


@dataclass(frozen=True)
class Example:
    """A worked neuron."""

    shown: Mapping[str, Any]
    """What its question is made of."""
    explanation: str
    details: str
    """The same at greater length."""


@dataclass(frozen=True)
class Wording:
    """The words of one kind of explainer."""

    version: int
    instruction: str
    question: str
    """Shows a neuron; names in braces stand for its evidence."""
    stub: str
    """The words every one-line answer begins with."""
    prefix: str
    """The words every explanation begins with; empty for most kinds."""
    parts: Mapping[str, str]
    """Templates that questions are made of."""
    examples: tuple[Example, ...]
    zero_shot: str
    """The instruction where no worked examples are shown."""

    @property
    def without_examples(self) -> "Wording":
        """The same, without worked examples."""
        return replace(self, instruction=self.zero_shot, examples=())

    def messages(
        self, worked: Sequence[str], question: str, answer: AnswerForm = "line"
    ) -> tuple[Message, ...]:
        """Return a whole prompt: `worked` are the questions of the examples, `question` is the neuron's.

        One-line answers are begun by a last message, which completion models continue.
        """
        turns = [Message("system", self._instruction(answer))]
        for shown, example in zip(worked, self.examples, strict=True):
            turns += [Message("user", shown), Message("assistant", self._answered(example, answer))]
        turns.append(Message("user", question))
        return (*turns, Message("assistant", self.stub)) if answer == "line" else tuple(turns)

    def _instruction(self, answer: AnswerForm) -> str:
        asked = tomllib.loads(wording_text(ANSWERS))[answer]["instruction"].strip()
        return f"{self.instruction} {asked}".strip()

    def _answered(self, example: Example, answer: AnswerForm) -> str:
        if answer == "line":
            return f"{self.stub} {example.explanation}"
        short = f"{self.prefix} {example.explanation}".strip()
        return json.dumps({"short": short, "long": example.details}, ensure_ascii=False)


def wording_text(name: str) -> str:
    """Return a data file as it stands; part of the fingerprint of what is made with it."""
    return files("neuroscribe.explain").joinpath(f"{name}.toml").read_text(encoding="utf-8")


@cache
def wording(kind: str) -> Wording:
    """Return the wording of a kind of explainer as written in its data file."""
    data: dict[str, Any] = tomllib.loads(wording_text(kind))
    answers = {"explanation", "details"}
    examples = tuple(
        Example(
            {name: value for name, value in example.items() if name not in answers},
            str(example["explanation"]),
            str(example["details"]),
        )
        for example in data["example"]
    )
    return Wording(
        version=int(data["version"]),
        instruction=" ".join(str(data["instruction"]).split()),
        question=str(data["question"]),
        stub=str(data["stub"]),
        prefix=str(data.get("prefix", "")),
        parts={str(name): str(part) for name, part in data.get("parts", {}).items()},
        examples=examples,
        zero_shot=" ".join(str(data["zero_shot"]).split()),
    )


def filled(template: str, **parts: str) -> str:
    """Return a template with each {name} replaced; braces in the parts, which may be corpus text, stay."""
    return re.sub(r"\{(\w+)\}", lambda name: parts[name[1]], template)
