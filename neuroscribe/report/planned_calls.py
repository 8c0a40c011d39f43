"""The calls that one layer will take: the questions that a run would ask, less those that are answered.

Where the layer is not captured or explained yet, the questions are those about likely tables.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import polars as pl

from neuroscribe.choose.choosing import questions as choice_questions
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.probe import probe_questions
from neuroscribe.explain.questions import Question as ExplanationQuestion
from neuroscribe.explain.questions import before
from neuroscribe.explain.questions import questions as explanation_questions
from neuroscribe.judge.dealt import asked_calls as judging_calls
from neuroscribe.llm.calls import Question, Request
from neuroscribe.ports.labels import Labels
from neuroscribe.ports.replies import Usage
from neuroscribe.ports.stores import CallStore
from neuroscribe.report.likely import (
    likely_explanations,
    likely_predictability,
    likely_rows,
    likely_statistics,
    likely_tables,
)
from neuroscribe.simulate.questions import questions as simulation_questions
from neuroscribe.study.kinds import KindSpec
from neuroscribe.study.sections import LLM_NEEDS
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES
from neuroscribe.write.questions import questions as writing_questions

_LOOKED_AT = 32
"""Questions of a kind whose lengths stand for those of all; likely neurons of a layer."""
_STAGE_THAT: Mapping[str, str] = {stage.asks: name for name, stage in STAGES.items() if stage.asks}
"""Stages by what their calls are called."""
_RECORDS = ("neuron_records", "sampled_activations", "token_lookup", "connections")


@dataclass(frozen=True)
class Found:
    """What is there of a layer, as the study stands."""

    tables: Mapping[str, pl.DataFrame] = field(default_factory=dict[str, pl.DataFrame])
    """By name; statistics alone, or all up to the records, or those and the explanations."""
    current: frozenset[str] = frozenset()
    """Stages whose tables belong to the study as it stands: a run asks nothing more for them."""


@dataclass(frozen=True)
class Asked:
    """A model as far as a plan needs it."""

    cost: Callable[[Usage], float | None]
    """Dollars for some tokens; None without a price."""
    identities: Mapping[tuple[str, str], Sequence[str]] = field(
        default_factory=dict[tuple[str, str], Sequence[str]]
    )
    """The identities that an explainer, simulator or judge may have, by stage and name; what the model turns
    out to give decides which. Without any, no answer is looked for in the store."""


@dataclass(frozen=True)
class PlannedCalls:
    """The calls of one explainer, simulator or judge."""

    open: int
    answered: int
    sample: Sequence[Request]
    """Some of those that are open."""
    known_from: str


class LayerView:
    """One layer, as far as it is known."""

    def __init__(
        self,
        study: Study,
        layer: int,
        found: Found,
        calls: CallStore | None,
        labels: Mapping[str, Labels] | None = None,
        *,
        is_first: bool = True,
    ) -> None:
        """Take what is known; of several layers the first counts what a study asks once."""
        self._study, self._layer, self._found, self._calls = study, layer, found, calls
        self._labels, self._is_first = labels, is_first
        self._is_captured = set(_RECORDS) <= set(found.tables)

    @cached_property
    def sample(self) -> LayerEvidence:
        """The neurons to explain, each side by itself; all fire where nothing is known of them."""
        likely = {
            "activations/statistics": likely_statistics(self._study),
            "predictability": likely_predictability(self._study),
        }
        known = {name: table for name, table in self._found.tables.items() if name in likely}
        return LayerEvidence(self._study, self._layer, likely | known)

    @property
    def set_aside(self) -> int | None:
        """Neurons that are dead or near dead; None where that is not known."""
        if not self._found.tables:
            return None
        return self.sample.set_aside.filter(pl.col("reason") != "silent").height

    def planned(
        self, stage: str, model_of: Callable[[str, str], Asked]
    ) -> Iterator[tuple[str, PlannedCalls, Asked]]:
        """Yield a stage's explainers, simulators or scorers with their calls, and the model that is asked.

        For judges, an encoder may choose other silent excerpts than those here.
        """
        specs: Mapping[str, Mapping[str, KindSpec]] = {
            "explanation": self._study.explainers,
            "simulation": self._study.simulators,
            "judgement": self._study.judging,
            "choice": self._study.choosing,
            "sentence": self._study.writing,
        }
        for name, spec in specs[stage].items():
            model = model_of(stage, name)
            yield name, self._calls_of(stage, name, spec, model), model

    def _calls_of(self, stage: str, name: str, spec: KindSpec, model: Asked) -> PlannedCalls:
        if spec.needs not in LLM_NEEDS:
            return PlannedCalls(0, 0, (), "no LLM")
        known_from = self._known_from(stage)
        evidence = self._shown if stage == "explanation" else self._read
        once = probe_questions(self._study, name) if stage == "explanation" and self._is_first else ()
        asked = (*once, *_QUESTIONS[stage](evidence, name))
        every = [question for question in asked if question.n_calls]
        if not self._is_captured:
            # All likely neurons are alike, so that a few of them tell how much all of them ask.
            fixed = sum(question.n_calls for question in every if _is_fixed(question))
            calls = sum(question.n_calls for question in every) - fixed
            of = [self._asked_of(stage, name, evidence) for evidence in (self.sample, self._shown)]
            scaled = calls * of[0] // max(1, of[1])
            return PlannedCalls(scaled + fixed, 0, _requests(every), known_from)
        distinct = {question.key(""): question for question in every}.values()
        identities = model.identities.get((stage, name), ())
        left = [question for question in distinct if not self._is_answered(question, identities)]
        if _STAGE_THAT[stage] in self._found.current:
            left = []
        open_calls = sum(question.n_calls for question in left)
        answered = sum(question.n_calls for question in distinct) - open_calls
        return PlannedCalls(open_calls, answered, _requests(left), known_from)

    def _asked_of(self, stage: str, name: str, evidence: LayerEvidence) -> int:
        """Return how many sides of some evidence are asked about: by a dear simulator, few of them."""
        reads_all = stage != "simulation"
        return sum(reads_all or evidence.is_read(neuron, name) for neuron in evidence.neurons)

    def _known_from(self, stage: str) -> str:
        if not self._is_captured:
            return "statistics" if self._found.tables else "study"
        return (
            "explanations" if stage != "explanation" and "explanations" in self._found.tables else "records"
        )

    @cached_property
    def _shown(self) -> LayerEvidence:
        """What explainers are shown: what is there, or what is likely of a few neurons."""
        neurons = self.sample.neurons
        if self._is_captured:
            return LayerEvidence(self._study, self._layer, self._found.tables, neurons=neurons)
        few = neurons[:_LOOKED_AT]
        tables = {**self.sample.tables, **likely_tables(self._study, few)}
        return LayerEvidence(self._study, self._layer, tables, neurons=few)

    @cached_property
    def _read(self) -> LayerEvidence:
        """What simulators and judges read: the explanations, too, or such as are likely."""
        shown = self._shown
        if "explanations" in shown.tables:
            return shown
        tables = {**shown.tables, "explanations": likely_explanations(shown, self._labels)}
        return LayerEvidence(self._study, self._layer, tables, neurons=shown.neurons)

    def _is_answered(self, question: Question, identities: Sequence[str]) -> bool:
        calls = self._calls
        return calls is not None and any(
            calls.get(question.key(identity)) is not None for identity in identities
        )


def _of_explainer(evidence: LayerEvidence, name: str) -> Sequence[Question]:
    """Return what an explainer asks, after the texts of those that it builds on, or likely ones."""
    others = evidence.study.explainers[name].builds_on
    if "explanations" in evidence.tables:
        made = {other: evidence.explanations(other) for other in others}
    else:
        made = likely_rows(evidence) if others else {}
    return explanation_questions(evidence, name, before(evidence.study, name, made))


_QUESTIONS: Mapping[str, Callable[[LayerEvidence, str], Sequence[Question]]] = {
    "explanation": _of_explainer,
    "simulation": simulation_questions,
    "judgement": judging_calls,
    "choice": choice_questions,
    "sentence": writing_questions,
}


def _is_fixed(question: Question) -> bool:
    """Tell whether a question is one of a few whose number does not grow with the sample."""
    return isinstance(question, ExplanationQuestion) and (question.draw > 0 or question.is_puzzle)


def _requests(questions: Sequence[Question]) -> list[Request]:
    """Return what a few questions at even distances send."""
    count = min(_LOOKED_AT, len(questions))
    looked_at = (questions[place * len(questions) // count] for place in range(count))
    return [request for question in looked_at for request in question.requests()]
