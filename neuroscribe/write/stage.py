"""Has sentences written from every explanation of a layer, and runs the subject on all of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float

from neuroscribe.evidence.controls import controls
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.llm.calls import Form, Once, answer_form, worked_through
from neuroscribe.llm.capabilities import samples
from neuroscribe.measures.controls import CONTROLS
from neuroscribe.ports.models import LLM
from neuroscribe.ports.replies import Usage
from neuroscribe.ports.sources import LLMSource, SubjectSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.sections import LLM_NEEDS
from neuroscribe.tables.sentences import SENTENCES
from neuroscribe.write.peaks import encoded, peaks
from neuroscribe.write.questions import Question, questions, writing
from neuroscribe.write.sentences import Listed, Sentence, sentences_in
from neuroscribe.write.writing import AskedWriting, FilledWriting

_LISTED: Form[Listed] = answer_form(Listed)


@dataclass(frozen=True)
class Written:
    """The sentences of one explanation by one scorer, and what they took."""

    scorer: str
    explanation: Mapping[str, Any]
    """A row of EXPLANATIONS."""
    sentences: Sequence[Sentence]
    usage: Usage
    model: str

    @property
    def owner(self) -> Neuron:
        """The neuron that is explained."""
        return self.explanation["neuron"], self.explanation["polarity"]


async def written_layer(
    evidence: LayerEvidence, *, llm: LLMSource, subjects: SubjectSource, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the SENTENCES of one layer's explanations by every writing scorer of the study.

    The subject is opened once all is written; each sentence is run once, whatever explanation it is of.
    Raises LLMError, before anything is spent, for a model that does not answer.
    """
    study = evidence.study
    model: LLM | None = None
    if any(spec.needs in LLM_NEEDS for spec in study.writing.values()):
        model = llm.open(study.simulating_llm, progress=progress, beside=study.llm)
        await model.check(samples(study.writing.values(), study.corpus.sequence_length))
    every: list[Written] = []
    for name in study.writing:
        every += await written(evidence, name, model, calls, progress)
    return SENTENCES.frame(_rows(evidence, every, _Run(evidence, every, subjects, progress)))


async def written(
    evidence: LayerEvidence, name: str, llm: LLM | None, calls: CallStore, progress: Progress
) -> list[Written]:
    """Return the sentences of a scorer, by explainer and neuron; a kill repeats the calls in flight alone."""
    spec = writing(evidence, name)
    rows = [row for explainer in spec.explainers for row in evidence.usable(explainer)]
    if isinstance(spec, FilledWriting):
        return [Written(name, row, spec.filled(row), Usage(), "none") for row in rows]
    assert isinstance(spec, AskedWriting), "sentences are asked for or filled in"
    assert llm is not None, "opened for what asks"
    listed = await _asked(evidence, name, llm, calls, progress)
    identity = f"{llm.identity}; {spec.wording[spec.kind_name]}"
    return [
        Written(name, row, answer.sentences, answer.usage, identity)
        for row in rows
        for answer in [listed[row["text"]]]
    ]


async def _asked(
    evidence: LayerEvidence, name: str, llm: LLM, calls: CallStore, progress: Progress
) -> dict[str, Listed]:
    """Return what the LLM lists, by explanation; what was answered before is read from the store."""
    study, asked = evidence.study, questions(evidence, name)
    about = {"stage": "sentence", "model": llm.identity}
    once = Once(calls, about)
    with progress.task(f"write {study.name} by {name}", total=len(asked), unit="explanations") as advance:

        async def ask(question: Question) -> Listed:
            async def reply() -> Listed:
                limit = question.spec.answer_tokens
                said = await llm.reply(question.messages, max_tokens=limit, temperature=0.0, seed=0)
                return sentences_in(said, question.spec.sentences)

            key = question.key(llm.identity)
            listed = await once.answer(key, reply, _LISTED, prompt=question.messages)
            advance(1)
            return listed

        answers = await worked_through(asked, ask, at_once=llm.calls_at_once)
    return {question.text: answer for question, answer in zip(asked, answers, strict=True)}


class _Run:
    """What every explained neuron does on every sentence: one pass of the subject over all of them."""

    def __init__(
        self,
        evidence: LayerEvidence,
        every: Sequence[Written],
        subjects: SubjectSource,
        progress: Progress,
    ) -> None:
        study = evidence.study
        texts = dict.fromkeys(
            sentence.text for each in every for sentence in each.sentences if sentence.status == "ok"
        )
        self._places = {neuron: place for place, neuron in enumerate(sorted({each.owner for each in every}))}
        self._tokens: Mapping[str, Sequence[int]] = {}
        self._peaks: Mapping[str, Float[np.ndarray, " neuron"]] = {}
        if shown := [text for text in texts if text is not None]:
            subject = subjects.open(study.subject, progress=progress)
            self._tokens = encoded(subject, shown, study.corpus.sequence_length)
            self._peaks = peaks(
                subject,
                evidence.layer,
                self._tokens,
                list(self._places),
                polarities=study.polarities,
                progress=progress,
            )

    def on(self, sentence: Sentence, neuron: Neuron) -> tuple[int, float | None]:
        """Return how many tokens of a sentence were read, and a neuron's peak there; None if none was."""
        text = sentence.text
        if sentence.status != "ok" or text is None or text not in self._peaks:
            return 0, None
        return len(self._tokens[text]), float(self._peaks[text][self._places[neuron]])


def _rows(evidence: LayerEvidence, every: Sequence[Written], run: _Run) -> list[dict[str, Any]]:
    """Return each explanation's sentences on its own neuron, then on those that it is a control of."""
    rows: list[dict[str, Any]] = []
    by_explanation = {(each.scorer, each.explanation["explanation_id"]): each for each in every}
    for each in every:
        rows += _of_one(evidence, each, each.owner, run)
    for scorer, spec in evidence.study.writing.items():
        for explainer in spec.explainers:
            for neuron, others in _controls(evidence, explainer).items():
                for other in others:
                    rows += _of_one(evidence, by_explanation[scorer, other["explanation_id"]], neuron, run)
    return rows


def _controls(evidence: LayerEvidence, explainer: str) -> Mapping[Neuron, Sequence[Mapping[str, Any]]]:
    """Return the explanations whose sentences are held against each neuron."""
    seed = f"{evidence.study.scoring.seed} {evidence.layer}"
    return controls(evidence.usable(explainer), _is_unseen, count=CONTROLS, seed=seed)


def _is_unseen(*_: object) -> bool:
    """Tell that an explainer has seen nothing of the sentences: they were written afterwards."""
    return True


def _of_one(evidence: LayerEvidence, written: Written, neuron: Neuron, run: _Run) -> Iterator[dict[str, Any]]:
    """Yield the rows of an explanation's sentences on a neuron; the first of its own says what all took."""
    least, own = evidence.firing(neuron), neuron == written.owner
    for item, sentence in enumerate(written.sentences):
        tokens, peak = run.on(sentence, neuron)
        usage = written.usage if own and not item else Usage(cost_usd=0.0)
        # A text without a token for the subject is as good as none.
        status = "unparsable" if sentence.status == "ok" and peak is None else sentence.status
        yield {
            "explanation_id": written.explanation["explanation_id"],
            "scorer": written.scorer,
            "neuron": neuron[0],
            "polarity": neuron[1],
            "item": item,
            "text": sentence.text,
            "phrase": sentence.phrase,
            "n_tokens": tokens,
            "peak": peak,
            "fires": None if peak is None else peak >= least,
            "status": status,
            **usage.columns(),
            "model": written.model,
        }
