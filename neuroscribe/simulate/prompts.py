"""The simulation prompts, in three layouts for two ways of reading all tokens at once.

*Hidden* (Bills et al. 2023, all at once), for servers that echo log-probabilities: one line per token whose
value is hidden; worked examples hide values up to a point, so that the model puts digits at hidden places.
*Asked*, for a model in this process: the text once, then a line for each token that asks for its value; an
attention mask keeps the lines from seeing each other, so that one pass answers every question by itself.
*Places*: as asked, but a line gives the words that end at a place, so that one token may get several values.

Values run from 0 to 9, because many tokenizers split "10" and its "1" would be taken for a 1; readings are
stretched to 0..10. Wording and examples are data: `few_shot.toml` for these three, a file of its own name for
every other layout.
"""

import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Message
from neuroscribe.text.escaping import escaped, unforged

HIDDEN = "?"
"""Stands where a value is not shown."""
ASKING = "\nRatings:\n"
"""Stands between a text and the questions about its tokens."""
QUESTION = ":"
"""Asks for the value of the token before it."""
LARGEST = 9
DIGITS = tuple(str(value) for value in range(LARGEST + 1))


def prompt_identities(*layouts: str) -> Mapping[str, str]:
    """Return what stands for each layout's wording in the identity of a stage."""
    return {layout: prompt_identity(layout) for layout in layouts}


def prompt_identity(layout: str) -> str:
    """Return version and content hash of a layout's wording; part of every simulation's identity."""
    data = wording(layout)
    return f"{layout} prompt v{data['version']} {fingerprint(data, ASKING, QUESTION, HIDDEN, LARGEST)[:8]}"


@cache
def wording(layout: str) -> dict[str, Any]:
    """Return the data file of a layout, with a `version`."""
    shared = layout in ("hidden", "asked", "places")
    file = files("neuroscribe.simulate").joinpath("few_shot.toml" if shared else f"{layout}.toml")
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return data[layout] if shared else data


def hidden_prompt(explanation: str, tokens: Sequence[bytes]) -> tuple[str, list[int]]:
    """Return the prompt for a server, and the character offset of the hidden value of each token."""
    text = hidden_beginning() + hidden_opening(unforged(explanation))
    places: list[int] = []
    for token in tokens:
        text += f"{unforged(escaped(token))}\t"
        places.append(len(text))
        text += f"{HIDDEN}\n"
    return text, places


@cache
def hidden_beginning() -> str:
    """Return the instruction and worked examples that all hidden prompts begin with."""
    data = wording("hidden")
    blocks = [hidden_opening(example["explanation"]) + _lines(example) + "\n" for example in data["example"]]
    return f"{data['instruction'].strip()}\n\n" + "".join(blocks)


def hidden_opening(explanation: str) -> str:
    """Return the lines that introduce one neuron's tokens, up to the first of them."""
    return f"Explanation: {explanation}\nTokens:\n"


def asked_beginning(layout: str = "asked") -> str:
    """Return the instruction and worked examples that all prompts begin with, asked or of places."""
    data = wording(layout)
    blocks = [
        asked_opening(example["explanation"])
        + example["text"]
        + ASKING
        + "".join(f"{token}{QUESTION}{value}\n" for token, value in example["ratings"])
        + "\n"
        for example in data["example"]
    ]
    return f"{data['instruction'].strip()}\n\n" + "".join(blocks)


def asked_opening(explanation: str) -> str:
    """Return the lines that introduce one neuron's text, up to where the text begins."""
    return f"Explanation: {explanation}\nText:"


def conversation(instruction: str, worked: Sequence[tuple[str, str]], question: str) -> list[Message]:
    """Return a prompt as turns: the instruction, worked questions with their answers, the question."""
    turns = [Message("system", instruction.strip())]
    for asked, answered in worked:
        turns += [Message("user", asked), Message("assistant", answered)]
    return [*turns, Message("user", question)]


def _lines(example: dict[str, Any]) -> str:
    pairs = zip(example["tokens"], example["values"], strict=True)
    return "".join(
        f"{token}\t{value if place >= example['shown_from'] else HIDDEN}\n"
        for place, (token, value) in enumerate(pairs)
    )
