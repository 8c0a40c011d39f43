"""Versions and contents of the prompt files that results rest on."""

import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from neuroscribe.fingerprint import fingerprint

HIDDEN = "?"
"""Stands where a value is not shown."""
ASKING = "\nRatings:\n"
"""Stands between a text and the questions about its tokens."""
QUESTION = ":"
"""Asks for the value of the token before it."""
LARGEST = 9


def prompt_identity(layout: str) -> str:
    """Return version and content hash of a layout's wording; part of every simulation's identity."""
    data = wording(layout)
    return f"{layout} prompt v{data['version']} {fingerprint(data, ASKING, QUESTION, HIDDEN, LARGEST)[:8]}"


@cache
def wording(layout: str) -> dict[str, Any]:
    """Return the data file of a layout, with a `version`."""
    shared = layout in ("hidden", "asked")
    file = files("neuroscribe.simulate").joinpath("few_shot.toml" if shared else f"{layout}.toml")
    data = tomllib.loads(file.read_text(encoding="utf-8"))
    return data[layout] if shared else data


ANSWERS = "answers"


def wording_text(kind: str) -> str:
    """Return a data file as it stands; part of the fingerprint of what is made with it."""
    return files("neuroscribe.explain").joinpath(f"{kind}.toml").read_text(encoding="utf-8")


def wordings(kinds: Sequence[str]) -> dict[str, str]:
    """Return the data files behind some kinds of explainers, by name; kinds that ask no LLM have none."""
    folder = files("neuroscribe.explain")
    asking = [kind for kind in kinds if folder.joinpath(f"{kind}.toml").is_file()]
    return {name: wording_text(name) for name in sorted({*asking, ANSWERS} if asking else ())}


STRONG = 5
"""Activation on the 0..10 scale from which a token is marked."""

JudgingLayout = Literal["detection", "fuzzing"]


def judging_identity(layout: JudgingLayout) -> str:
    """Return version and content hash of a layout's wording; part of every judgement's identity."""
    data = judging_wording()[layout]
    return f"{layout} prompt v{data['version']} {fingerprint(data, STRONG)[:8]}"


@cache
def judging_wording() -> dict[str, Any]:
    """Return the data file of the judging prompts."""
    return tomllib.loads(files("neuroscribe.judge").joinpath("prompts.toml").read_text(encoding="utf-8"))
