"""The simulation prompt: an explanation, then one line per token with a place for its value.

Method of Bills et al. 2023 (all at once): worked examples hide their values up to a point, so that the model
puts digits at every hidden place, and the distribution at the hidden places of the last block is read. Values
run from 0 to 9, because many tokenizers split "10" and its "1" would be taken for a 1; readings are stretched
to 0..10. Wording and examples are data: `few_shot.toml`.
"""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from neuroscribe.escaping import escaped

HIDDEN = "?"
"""Stands where a value is not shown."""
LARGEST = 9
DIGITS = tuple(str(value) for value in range(LARGEST + 1))


@dataclass(frozen=True)
class WorkedExample:
    """A neuron whose values are shown from `shown_from` on."""

    explanation: str
    tokens: tuple[str, ...]
    values: tuple[int, ...]
    shown_from: int


@dataclass(frozen=True)
class SimulationPrompt:
    """The fixed beginning of every simulation prompt; its version enters fingerprints."""

    version: int
    instruction: str
    examples: tuple[WorkedExample, ...]

    @property
    def beginning(self) -> str:
        """Instruction and worked examples, shared by all prompts."""
        blocks = [
            opening(example.explanation) + "".join(_lines(example)) + "\n" for example in self.examples
        ]
        return f"{self.instruction.strip()}\n\n" + "".join(blocks)


@cache
def simulation_prompt() -> SimulationPrompt:
    """Return the prompt as written in the data file."""
    data = tomllib.loads(files("neuroscribe.simulate").joinpath("few_shot.toml").read_text(encoding="utf-8"))
    examples = tuple(
        WorkedExample(
            explanation=example["explanation"],
            tokens=tuple(example["tokens"]),
            values=tuple(example["values"]),
            shown_from=example["shown_from"],
        )
        for example in data["example"]
    )
    return SimulationPrompt(data["version"], data["instruction"], examples)


def opening(explanation: str) -> str:
    """Return the lines that introduce one neuron's tokens."""
    return f"Explanation: {explanation}\nTokens:\n"


def hidden_line(token: bytes) -> tuple[str, str]:
    """Return a token's line with its value hidden, as what stands before the place and from it on."""
    return f"{escaped(token)}\t", f"{HIDDEN}\n"


def whole_prompt(explanation: str, tokens: Sequence[bytes]) -> tuple[str, list[int]]:
    """Return the prompt for a server, and the character offset of each hidden place."""
    text = simulation_prompt().beginning + opening(explanation)
    places: list[int] = []
    for token in tokens:
        before, after = hidden_line(token)
        places.append(len(text) + len(before))
        text += before + after
    return text, places


def _lines(example: WorkedExample) -> list[str]:
    shown = [
        str(value) if position >= example.shown_from else HIDDEN
        for position, value in enumerate(example.values)
    ]
    return [f"{token}\t{value}\n" for token, value in zip(example.tokens, shown, strict=True)]
