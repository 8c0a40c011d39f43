"""The kinds of units that a study can name."""

from collections.abc import Mapping

from neuroscribe.errors import StudyError
from neuroscribe.study.spec import SubjectSpec
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind

UNIT_KINDS: Mapping[str, UnitKind] = {"mlp_neurons": MLP_NEURONS}
"""By the name in `subject.units`."""


def chosen_units(spec: SubjectSpec, kinds: Mapping[str, UnitKind]) -> UnitKind:
    """Return the kind of unit that a study names; raises StudyError for one that is not there."""
    if spec.units not in kinds:
        raise StudyError(
            f'subject.units = "{spec.units}" names no kind of unit; known kinds: {", ".join(sorted(kinds))};'
            " correct it, or add the kind to neuroscribe/subject/units/kinds.py"
        )
    return kinds[spec.units]
