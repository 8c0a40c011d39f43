"""The scorer `fuzzing`: are the marked tokens those on which the neuron fires? (Paulo et al. 2024)."""

from collections.abc import Sequence
from typing import Literal

from neuroscribe.evidence.exemplars import Exemplars
from neuroscribe.judge.excerpts import Excerpt, Nearest, marked_excerpts
from neuroscribe.judge.judging import AskingJudge


class Fuzzing(AskingJudge):
    """Are the marked tokens those on which the neuron fires? (Paulo et al. 2024)."""

    kind: Literal["fuzzing"] = "fuzzing"

    def excerpts(
        self, exemplars: Exemplars, tokens: Sequence[Sequence[int]], *, seed: str, nearest: Nearest | None
    ) -> list[Excerpt]:
        """Return firing excerpts, each with its firing tokens marked and with as many others."""
        return marked_excerpts(exemplars, length=self.excerpt_tokens, seed=seed)
