"""What the last steps need is tried before anything is spent."""

from pathlib import Path
from typing import Any

import pytest

from dagster_project.environments import ROOT
from dagster_project.rehearsal import rehearse
from neuroscribe.errors import StoreError
from neuroscribe.kinds import read_study
from neuroscribe.ports.checks import Verdict
from resources.expectations import Expectations
from resources.store.datasets import DatasetFolders

STUDY = read_study(ROOT / "studies" / "embedded.toml")


class Homeless:
    """A validator that fails as libraries do for a user without a home."""

    def validate(self, *_: Any, **__: Any) -> list[Verdict]:
        raise RuntimeError("Could not determine home directory.")


def test_on_a_sound_machine_nothing_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    rehearse(STUDY, Expectations(), DatasetFolders(str(tmp_path)))
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.is_symlink()]


def test_a_step_that_cannot_be_made_is_named_with_what_it_met(tmp_path: Path) -> None:
    finding = r"the checks of the scores, with which a run ends, .*home directory.*nothing was spent"
    with pytest.raises(StoreError, match=finding):
        rehearse(STUDY, Homeless(), DatasetFolders(str(tmp_path)))


def test_something_else_in_the_datasets_place_is_refused_beforehand(tmp_path: Path) -> None:
    (tmp_path / "embedded" / "neuron_dataset").mkdir(parents=True)
    with pytest.raises(StoreError, match="neuron_dataset: was not published here; move it away"):
        rehearse(STUDY, Expectations(), DatasetFolders(str(tmp_path)))
