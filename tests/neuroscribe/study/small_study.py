"""A small study as text, and how it is read and refused."""

from pathlib import Path

import pytest

from neuroscribe.errors import StudyError
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study

GOOD = """
description = "two layers"
[subject]
model = "org/model"
layers = 2
neurons_per_layer = 24
[corpus]
files = "x.txt"
sequences = 100
[llm]
model = "m"
[explainers.token_pairs]
excerpts = 3
[explainers.listed]
kind = "token_list"
[simulators.all_at_once]
explainers = ["token_pairs"]
"""


def read(folder: Path, text: str, name: str = "mine.toml") -> Study:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_study(path)


def refusal(folder: Path, *changes: tuple[str, str]) -> str:
    """The message with which the good study is refused after some changes."""
    text = GOOD
    for before, after in changes:
        assert text.count(before) == 1
        text = text.replace(before, after)
    with pytest.raises(StudyError) as caught:
        read(folder, text)
    assert str(folder / "mine.toml") in str(caught.value)
    return str(caught.value)
