"""The highlighted-excerpt prompt: excerpts as running text with the strongly firing tokens marked.

Shorter than token-activation pairs, and better for small models, which lose the thread of long columns. Later
work scores it higher for large ones too (Lee et al. 2023). Wording and examples are data: `highlights.toml`.
"""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from neuroscribe.explain.prompts import Pair
from neuroscribe.ports import Message

STRONG = 5
"""Activation on the 0..10 scale from which a token is marked."""


def highlight_messages(excerpts: Sequence[Sequence[Pair]]) -> list[Message]:
    """Return the whole prompt for a neuron; the last message is the beginning of the answer."""
    data = _data()
    turns = [Message("system", data["instruction"].strip())]
    for example in data["example"]:
        turns.append(Message("user", _question(example["excerpts"], example["tokens"])))
        turns.append(Message("assistant", f"{data['stub']} {example['explanation']}"))
    marked = [token for pairs in excerpts for token, value in pairs if value >= STRONG]
    tokens = ", ".join(_unmarked(token).strip() for token in marked)
    turns.append(Message("user", _question([_marked(pairs) for pairs in excerpts], tokens)))
    return [*turns, Message("assistant", data["stub"])]


def _marked(pairs: Sequence[Pair]) -> str:
    """Return an excerpt as one line; marks that the text itself holds are taken apart."""
    shown: list[str] = []
    plain = ""
    for token, value in pairs:
        if value >= STRONG:
            shown += [_unmarked(plain), f"<<{_unmarked(token)}>>"]
            plain = ""
        else:
            plain += token
    return "".join([*shown, _unmarked(plain)]).strip()


def _unmarked(text: str) -> str:
    return text.replace("<<", "< <").replace(">>", "> >")


def _question(excerpts: Sequence[str], tokens: str) -> str:
    # Not str.format: corpus text may hold braces.
    template = str(_data()["question"])
    before, rest = template.split("{excerpts}")
    between, after = rest.split("{tokens}")
    return before + "\n".join(excerpts) + between + tokens + after


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files("neuroscribe.explain").joinpath("highlights.toml").read_text(encoding="utf-8"))
