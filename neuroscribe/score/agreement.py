"""Scores from simulations: every measure of every simulator on every regime, with ceiling and controls."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.score.compared import Scored
from neuroscribe.score.corpus import CorpusScores, Whole
from neuroscribe.score.paper import PaperScores
from neuroscribe.score.rows import Basis, score_row
from neuroscribe.simulate.questions import read, reads_again
from neuroscribe.study.dues import CORPUS, Due


@dataclass(frozen=True)
class _Case:
    """One explanation by one simulator on one split; scores by measure and regime."""

    explanation: dict[str, Any]
    split: str
    scores: Mapping[tuple[str, str], Scored]


class Agreement:
    """Scores one layer's simulations; `whole` holds the simulators that cost nothing, by name."""

    def __init__(self, evidence: LayerEvidence, whole: Mapping[str, Whole]) -> None:
        self._evidence = evidence
        self._corpus, self._paper = CorpusScores(evidence, whole), PaperScores(evidence)
        self._cases: dict[tuple[str, str], list[_Case]] = {}

    def rows(self, due: Due) -> list[dict[str, Any]]:
        """Return the rows of one scorer and explainer."""
        key = (due.source, due.explainer)
        if key not in self._cases:
            self._cases[key] = list(self._all_cases(*key))
        return [
            self._row(due, case, regime, found)
            for case in self._cases[key]
            for regime in due.regimes
            if (found := case.scores.get((due.measure, regime)))
        ]

    def _row(self, due: Due, case: _Case, regime: str, found: Scored) -> dict[str, Any]:
        counts = (found.n_sequences, found.n_tokens, found.n_unreadable)
        return score_row(
            due, Basis(case.explanation, case.split, regime, *counts), found.estimate, found.marks
        )

    def _all_cases(self, simulator: str, explainer: str) -> Iterator[_Case]:
        evidence = self._evidence
        simulated = evidence.study.simulated_splits(explainer, simulator)
        for explanation in read(evidence, simulator, evidence.explanations(explainer)):
            for split in evidence.study.scored_splits(explainer, simulator):
                scores = self._over_corpus(explanation, simulator, split)
                if split in simulated:
                    scores |= self._paper.of(explanation, simulator, split)
                yield _Case(explanation, split, scores)
        again = evidence.redrawn(explainer) if reads_again(evidence, simulator, explainer) else ()
        for explanation in read(evidence, simulator, again):
            yield _Case(explanation, "test", self._over_corpus(explanation, simulator, "test"))

    def _over_corpus(
        self, explanation: dict[str, Any], simulator: str, split: str
    ) -> dict[tuple[str, str], Scored]:
        found = self._corpus.of(explanation, simulator, split)
        return {(measure, CORPUS): score for measure, score in found.items()}
