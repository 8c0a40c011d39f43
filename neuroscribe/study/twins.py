"""A study and its twin: the same in everything, but that one's subject has random weights."""

from collections.abc import Iterable
from typing import NamedTuple

from neuroscribe.study.spec import Study


class Twins(NamedTuple):
    """Two studies to be set side by side."""

    trained: Study
    randomised: Study


def twins(study: Study, studies: Iterable[Study]) -> Twins | None:
    """Return a study and its twin among the others, the first by name; None where it has none.

    Two studies are twins if they differ in nothing but `subject.randomised`, name and description.
    """
    shape, is_twin = _shape(study), study.subject.randomised
    for other in sorted(studies, key=lambda each: each.name):
        if other.subject.randomised != is_twin and _shape(other) == shape:
            return Twins(other, study) if is_twin else Twins(study, other)
    return None


def _shape(study: Study) -> Study:
    """Return a study without what twins differ in."""
    subject = study.subject.model_copy(update={"randomised": False})
    return study.model_copy(update={"name": "", "description": "", "subject": subject})
