"""Data-quality rules of the descriptions.

None stops a publication: what descriptions are made of has passed the rules of the scores.
"""

from neuroscribe.ports.checks import Rows, Rule, Suite, Told
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.spec import Study
from neuroscribe.tables.columns import RANDOM
from neuroscribe.tables.descriptions import DESCRIPTIONS

RULES = (
    Rule(
        "description_above_control", "mean_difference", ("score", "control"),
        "On average a description of the random sample is above other neurons' explanations.",
        low=0.0, severity="warn", frame="descriptions",
    ),
    Rule(
        "description_has_score", "null_share", ("score",),
        "At most half of the neurons of the random sample have no description with a score.",
        high=0.5, severity="warn", frame="descriptions",
    ),
)  # fmt: skip


class DescriptionSuite(Suite):
    """What is examined of descriptions."""

    stage = "descriptions"

    def rules(self, study: Study) -> tuple[Rule, ...]:
        """Return the same rules for every study."""
        return RULES

    def rows(self, study: Study, layer: int | None, tables: TableReader, told: Told) -> dict[str, Rows]:
        """Return the random sample."""
        descriptions = tables.read(study.name, "descriptions", layer)
        return {"descriptions": Rows(descriptions.filter(sample=RANDOM), DESCRIPTIONS.key)}
