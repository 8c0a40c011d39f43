"""The texts of an explanation that are read one by one, of which the largest value counts at each token."""

from collections.abc import Mapping
from typing import Any


def read_texts(explanation: Mapping[str, Any], *, apart: bool = True) -> tuple[str, ...]:
    """Return the parts of a row of EXPLANATIONS with a text, or that text where it has none.

    Which simulator reads parts is for `simulate.questions.texts_for` to say.
    """
    parts = explanation["parts"] if apart else None
    return tuple(parts or (explanation["text"],))
