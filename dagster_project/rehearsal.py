"""Tries what the last steps of a run need before the first one begins: by then all calls are paid for."""

from typing import Protocol

import polars as pl

from neuroscribe.errors import NeuroscribeError, StoreError
from neuroscribe.ports.checks import Rule, Validator
from neuroscribe.report.pictures import score_histogram_png
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import SCORES

_RULE = Rule("rehearsal", "unique", ("layer", "neuron"), "Stands in for the study's own rules.")
_ROW = pl.DataFrame({"layer": [0], "neuron": [0], "explanation_id": ["none"]})


class Checked(Protocol):
    """A place for datasets that can be tried."""

    def check(self, study: str) -> None:
        """Raise StoreError unless a dataset of the study can be put there."""
        ...


def rehearse(study: Study, validator: Validator, datasets: Checked) -> None:
    """Examine a row, draw a picture and try the dataset's place; raises StoreError for what fails."""
    steps = {
        "the checks of the scores": lambda: validator.validate(_ROW, [_RULE], name="rehearsal"),
        "the pictures": lambda: score_histogram_png(SCORES.frame([])),
        "the dataset": lambda: datasets.check(study.name),
    }
    for name, step in steps.items():
        try:
            step()
        except NeuroscribeError:
            raise
        except Exception as error:
            # Libraries that look around on a machine fail in ways of their own.
            raise StoreError(
                f"{name}, with which a run ends, cannot be made on this machine ({type(error).__name__}:"
                f" {error}); nothing was spent yet: look at the user's home, temporary folder and memory"
            ) from error
