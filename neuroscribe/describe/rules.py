"""Data-quality rules of the descriptions, and the verdicts on them.

None stops a publication: what descriptions are made of has passed the rules of the scores.
"""

import polars as pl

from neuroscribe.ports.checks import Rule, Validator, Verdict
from neuroscribe.tables.columns import RANDOM
from neuroscribe.tables.descriptions import DESCRIPTIONS

RULES = (
    Rule(
        "description_above_control", "mean_difference", ("score", "control"),
        "On average a description of the random sample is above other neurons' explanations.",
        low=0.0, severity="warn",
    ),
    Rule(
        "description_has_score", "null_share", ("score",),
        "At most half of the neurons of the random sample have no description with a score.",
        high=0.5, severity="warn",
    ),
)  # fmt: skip


def verdicts(validator: Validator, descriptions: pl.DataFrame, *, name: str) -> list[Verdict]:
    """Examine the descriptions of one or more layers; `name` says which they are."""
    random = descriptions.filter(sample=RANDOM)
    return validator.validate(random, RULES, name=f"{name} descriptions", identify=DESCRIPTIONS.key)
