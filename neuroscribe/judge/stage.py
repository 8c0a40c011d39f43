"""Judges every explanation of a layer on excerpts its explainer never saw, and on a control's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from neuroscribe.evidence.exemplars import Exemplars, Neuron, by_neuron, scored_exemplars
from neuroscribe.evidence.tasks import controls, scored_splits, usable_explanations
from neuroscribe.judge.excerpts import Excerpt, Negatives, marked_excerpts, plain_excerpts
from neuroscribe.judge.judges import (
    AskedJudge,
    Judge,
    Judgement,
    SimilarityJudge,
    excerpt_text,
    gives_first_tokens,
)
from neuroscribe.llm.calls import worked_through
from neuroscribe.llm.capabilities import LLM_NEEDS
from neuroscribe.ports.models import LLM
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.prompts import JudgingLayout as Layout
from neuroscribe.study.scorers import Detection, Fuzzing, Judging, Retrieval
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import JUDGEMENTS
from neuroscribe.text.corpus import token_bytes_by_sequence, token_rows


@dataclass(frozen=True)
class JudgedTables:
    """One layer's tables, as its judges read them."""

    sequences: pl.DataFrame
    vocabulary: pl.DataFrame
    records: pl.DataFrame
    explanations: pl.DataFrame


@dataclass(frozen=True)
class Question:
    """One explanation held against one excerpt."""

    explanation_id: str
    text: str
    neuron: Neuron
    split: str
    excerpt: Excerpt


async def judged_layer(
    study: Study,
    tables: JudgedTables,
    *,
    llm: LLMSource,
    encoders: EncoderSource,
    calls: CallStore,
    progress: Progress,
) -> pl.DataFrame:
    """Return the JUDGEMENTS of one layer's explanations by every judging scorer of the study.

    A model that gives no log-probabilities of its first token is asked for plain answers. Raises LLMError,
    before anything is spent, for one that does not answer at all.
    """
    model: LLM | None = None
    by_first_token = False
    if any(spec.needs in LLM_NEEDS for spec in study.judging.values()):
        model = llm.open(study.simulating_llm, progress=progress, beside=study.llm)
        await model.check()
        by_first_token = await gives_first_tokens(model)
    rows: list[dict[str, Any]] = []
    for name, spec in study.judging.items():
        judge = _judge(spec, model, encoders, calls, progress, by_first_token=by_first_token)
        sought = spec.near_text if isinstance(spec, Detection) else None
        near = SimilarityJudge(encoders.open(sought, progress=progress)) if sought else None
        evidence = Evidence(study, name, spec, tables, near)
        rows += await judged(study, name, evidence.questions(), evidence.tokens, judge, progress)
    return JUDGEMENTS.frame(rows)


async def judged(
    study: Study,
    name: str,
    questions: Sequence[Question],
    tokens: Mapping[int, Sequence[bytes]],
    judge: Judge,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return the rows of JUDGEMENTS that answer some questions; `tokens` are those of their sequences."""
    with progress.task(f"judge {study.name} by {name}", total=len(questions), unit="excerpts") as advance:

        async def ask(question: Question) -> Judgement:
            shown = question.excerpt
            own = tokens[shown.sequence_id][shown.start : shown.stop]
            marked = [place - shown.start for place in shown.marked]
            found = await judge.judgement(question.text, own, marked)
            advance(1)
            return found

        answers = await worked_through(questions, ask, at_once=judge.calls_at_once)
    pairs = zip(questions, answers, strict=True)
    return [_row(question, answer, name, judge.identity) for question, answer in pairs]


def layout_of(spec: Judging) -> Layout:
    """Return which prompt a scorer uses."""
    return "fuzzing" if isinstance(spec, Fuzzing) else "detection"


class Evidence:
    """What one scorer is to ask about a layer."""

    def __init__(
        self, study: Study, name: str, spec: Judging, tables: JudgedTables, near: SimilarityJudge | None
    ) -> None:
        self._study, self._name, self._spec, self._near = study, name, spec, near
        self._explanations = tables.explanations
        self._records = by_neuron(tables.records)
        self._ids = token_rows(tables.sequences)
        sampled = tables.explanations.select("neuron", "polarity").unique()
        shown = tables.records.join(sampled, on=["neuron", "polarity"], how="semi")
        self.tokens = token_bytes_by_sequence(tables.sequences, tables.vocabulary, shown["sequence_id"])
        self._found: dict[tuple[Neuron, str], list[Excerpt]] = {}

    def questions(self) -> list[Question]:
        """Return each explanation with its neuron's excerpts, then with the control's."""
        asked: list[Question] = []
        for explainer in self._spec.explainers:
            usable = usable_explanations(self._explanations, explainer)
            for own in usable.iter_rows(named=True):
                neuron = (own["neuron"], own["polarity"])
                for split in scored_splits(self._study, explainer):
                    asked += self._about(own, neuron, split)
            neurons = dict.fromkeys(usable.select("neuron", "polarity").iter_rows())
            tested = {neuron: [self._sequences(neuron)] for neuron in neurons}
            for neuron, other in controls(usable, tested).items():
                asked += self._about(other, neuron, "test")
        return asked

    def _about(self, explanation: Mapping[str, Any], neuron: Neuron, split: str) -> list[Question]:
        name, text = explanation["explanation_id"], explanation["text"]
        return [Question(name, text, neuron, split, own) for own in self._excerpts(neuron, split)]

    def _sequences(self, neuron: Neuron) -> tuple[int, ...]:
        return tuple(dict.fromkeys(own.sequence_id for own in self._excerpts(neuron, "test")))

    def _excerpts(self, neuron: Neuron, split: str) -> list[Excerpt]:
        """Return a neuron's excerpts; without firing and silent ones there is nothing to ask."""
        if (neuron, split) not in self._found:
            found = self._drawn(neuron, split)
            labels = {own.label for own in found}
            self._found[neuron, split] = found if labels == {True, False} else []
        return self._found[neuron, split]

    def _drawn(self, neuron: Neuron, split: str) -> list[Excerpt]:
        study, spec = self._study, self._spec
        rows, per_kind = self._records[neuron], study.scoring.sequences_per_split
        shown = scored_exemplars(rows, split, per_kind=per_kind, polarities=study.polarities)
        seed = f"{study.scoring.seed} {self._name} {rows['layer'][0]} {neuron} {split}"
        if isinstance(spec, Fuzzing):
            return marked_excerpts(shown, length=spec.excerpt_tokens, seed=seed)
        return self._plain(shown, seed)

    def _plain(self, shown: Exemplars, seed: str) -> list[Excerpt]:
        same_token = isinstance(self._spec, Detection | Retrieval) and self._spec.same_token
        negatives = Negatives(same_token, self._nearest if self._near else None)
        tokens = [self._ids[sequence] for sequence in shown.sequence_ids]
        length = self._spec.excerpt_tokens
        return plain_excerpts(shown, tokens, length=length, negatives=negatives, seed=seed)

    def _nearest(self, silent: Sequence[Excerpt], firing: Sequence[Excerpt]) -> list[Excerpt]:
        """Return silent excerpts by similarity to the nearest firing one."""
        assert self._near is not None
        near = self._near
        targets = [self._text(own) for own in firing]
        return sorted(
            silent, key=lambda own: -max(near.similarity(self._text(own), target) for target in targets)
        )

    def _text(self, own: Excerpt) -> str:
        return excerpt_text(self.tokens[own.sequence_id][own.start : own.stop])


def _judge(
    spec: Judging,
    model: LLM | None,
    encoders: EncoderSource,
    calls: CallStore,
    progress: Progress,
    *,
    by_first_token: bool,
) -> Judge:
    if isinstance(spec, Retrieval):
        return SimilarityJudge(encoders.open(spec, progress=progress))
    assert model is not None, "a scorer that asks has its model opened"
    return AskedJudge(model, layout_of(spec), calls, by_first_token=by_first_token)


def _row(question: Question, found: Judgement, name: str, identity: str) -> dict[str, Any]:
    shown = question.excerpt
    return {
        "explanation_id": question.explanation_id,
        "neuron": question.neuron[0],
        "polarity": question.neuron[1],
        "scorer": name,
        "sequence_id": shown.sequence_id,
        "split": question.split,
        "item": shown.item,
        "start": shown.start,
        "stop": shown.stop,
        "marked": list(shown.marked),
        "kind": shown.kind,
        "label": shown.label,
        "probability": found.probability,
        "answer": found.answer,
        "status": found.status,
        **found.usage.columns(),
        "model": identity,
    }
