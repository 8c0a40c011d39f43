"""Explains the sampled neurons of one layer: what is asked, what is answered, and what counts as an answer.

Every answer is stored by the content of its question before anything else happens to it. A refusal, an
unreadable answer or a failed call is a row with its status, never text posing as an explanation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from neuroscribe.errors import LLMError
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import NO_TOKEN, Asking, Listing, Showing, Shown
from neuroscribe.explain.parsing import ParsedAnswer, parsed_answer
from neuroscribe.explain.stability import with_similarities
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Once, Request, answer_form, turns, worked_through
from neuroscribe.llm.capabilities import samples
from neuroscribe.ports.models import LLM
from neuroscribe.ports.replies import Reply, as_text
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.tables.records import EXPLANATIONS
from neuroscribe.text.escaping import storable

_ANSWERS = 3
"""Raise when the code that asks or reads changes what the same prompt is answered with."""
_REPLY = answer_form(Reply)


@dataclass(frozen=True)
class Question:
    """One prompt about one neuron; without messages there is nothing to ask. Fulfils `llm.calls.Question`."""

    neuron: Neuron
    explainer: str
    spec: ExplainerSpec
    shown: Shown = field(default_factory=Shown)
    sample_index: int = 0
    draw: int = 0
    """Of exemplars; what is published is written from draw 0."""

    @property
    def prompt_sha256(self) -> str:
        """Hash of the prompt as sent."""
        return fingerprint(turns(self.shown.messages))

    def key(self, identity: str) -> str:
        """Return the key under which the answer of a model, by its identity, is stored."""
        spec = self.spec
        assert isinstance(spec, Asking), "only what is asked has a key"
        decoding = (spec.temperature, spec.answer_tokens, self.sample_index, spec.answer)
        return fingerprint("explanation", _ANSWERS, identity, self.prompt_sha256, *decoding)

    @property
    def n_calls(self) -> int:
        """One, and none where there is nothing to ask."""
        return int(bool(self.shown.messages))

    def requests(self) -> list[Request]:
        """Return the prompt, and how long its answer may be."""
        limit = self.spec.answer_tokens if isinstance(self.spec, Asking) else 0
        return [(as_text(self.shown.messages), limit)]


async def explained_layer(
    evidence: LayerEvidence, *, llm: LLMSource, encoders: EncoderSource, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the EXPLANATIONS of a layer's sample; a model or an encoder is opened only if it is needed.

    What can be known is checked before the first prompt: a wrong key, an absent server, and an explainer
    that needs weights whose meaning is not known for the subject's architecture (CapabilityError).
    """
    study = evidence.study
    check(evidence)
    model = llm.open(study.llm, progress=progress) if study.explaining_needs else None
    if model is not None:
        await model.check(samples(study.explainers.values(), study.corpus.sequence_length))
    frame = await explained(evidence, llm=model, calls=calls, progress=progress)
    return with_similarities(frame, study, encoders=encoders, progress=progress)


def check(evidence: LayerEvidence) -> None:
    """Raise CapabilityError where an explainer shows what the layer's tables do not hold."""
    for name, spec in evidence.study.explainers.items():
        if isinstance(spec, Asking):
            spec.check(evidence, name)


async def explained(
    evidence: LayerEvidence, *, llm: LLM | None, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the explanations of the layer's sampled neurons by every explainer of the study.

    `llm` may be None when no explainer asks one. Calls that were answered in an earlier, interrupted run are
    read from `calls`. One explainer is done after the other, so that prompts which begin alike adjoin.
    """
    rows: list[dict[str, Any]] = []
    for name, spec in evidence.study.explainers.items():
        if isinstance(spec, Listing):
            rows += [listed(evidence, neuron, name, spec) for neuron in evidence.neurons]
            continue
        every = questions(evidence, name)
        rows += [
            _row(evidence.layer, "none", question, Reply(None, "failed", question.shown.reason), None)
            for question in every
            if not question.shown.messages
        ]
        asked = [question for question in every if question.shown.messages]
        rows += await _answered(evidence, asked, name, llm, calls, progress)
    return EXPLANATIONS.frame(rows)


def questions(evidence: LayerEvidence, name: str) -> list[Question]:
    """Return what an explainer asks of a layer: the candidates of a neuron side by side, a mute one once.

    Then what it asks from further draws of exemplars. None for an explainer that needs no LLM.
    """
    spec = evidence.study.explainers[name]
    if not isinstance(spec, Asking):
        return []
    every: list[Question] = []
    for neuron in evidence.neurons:
        shown = spec.shown(evidence, neuron)
        candidates = range(spec.candidates if shown.messages else 1)
        every += [Question(neuron, name, spec, shown, index) for index in candidates]
    return [*every, *_redrawn(evidence, name, spec)]


def _redrawn(evidence: LayerEvidence, name: str, spec: Asking) -> Iterator[Question]:
    """Yield what an explainer that shows exemplars asks of the neurons by which its stability is told."""
    if isinstance(spec, Showing):
        for neuron in evidence.redrawn_neurons:
            for draw in range(1, spec.draws):
                yield Question(neuron, name, spec, spec.shown(evidence, neuron, draw), draw=draw)


async def _answered(
    evidence: LayerEvidence,
    asked: Sequence[Question],
    name: str,
    llm: LLM | None,
    calls: CallStore,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Return the rows of the questions that one explainer asks."""
    study, layer = evidence.study, evidence.layer
    if llm is None:
        raise LLMError(f"study {study.name}: explainer {name!r} asks an LLM, and none was given")
    once = Once(calls, {"stage": "explanation", "model": llm.identity, "study": study.name, "layer": layer})
    label = f"explain {study.name} layer {layer}"
    with progress.task(label, total=len(asked), unit="explanations") as advance:

        async def ask(question: Question) -> Reply:
            reply = await _reply(llm, question, once)
            advance(1, note=f"${reply.usage.cost_usd:.4f}" if reply.usage.cost_usd else "")
            return reply

        replies = await worked_through(asked, ask, at_once=llm.calls_at_once)
    return [
        _row(layer, llm.identity, question, reply, _parsed(reply, question))
        for question, reply in zip(asked, replies, strict=True)
    ]


async def _reply(llm: LLM, question: Question, once: Once) -> Reply:
    spec, messages = question.spec, question.shown.messages
    assert isinstance(spec, Asking), "only such have questions"

    async def ask() -> Reply:
        return await llm.reply(
            messages,
            max_tokens=spec.answer_tokens,
            temperature=spec.temperature,
            seed=question.sample_index,
            schema=spec.answer_schema,
        )

    return await once.answer(question.key(llm.identity), ask, _REPLY, prompt=messages)


def _parsed(reply: Reply, question: Question) -> ParsedAnswer | None:
    """Return what a whole answer says; there is none to a call that failed, was refused or was cut off."""
    spec = question.spec
    if reply.status != "ok" or not isinstance(spec, Asking):
        return None
    return parsed_answer(storable(reply.text or ""), form=spec.answer, prefix=spec.words.prefix)


def _row(
    layer: int, model: str, question: Question, reply: Reply, parsed: ParsedAnswer | None
) -> dict[str, Any]:
    text = parsed.text if parsed else None
    prompt, index = question.prompt_sha256, question.sample_index
    identity = [layer, question.neuron, question.explainer, model, prompt, index, text]
    if question.draw:
        identity.append(question.draw)
    return {
        "explanation_id": fingerprint("explanation", *identity)[:32],
        "layer": layer,
        "neuron": question.neuron[0],
        "polarity": question.neuron[1],
        "text": text,
        "long_text": parsed.long_text if parsed else None,
        "status": parsed.status if parsed else reply.status,
        "explainer": question.explainer,
        "model": model,
        "prompt_sha256": prompt,
        "sample_index": index,
        "draw": question.draw,
        "similarity": None,
        "sequence_ids": list(question.shown.sequence_ids),
        **reply.usage.columns(),
        "raw_response": storable(reply.raw),
    }


def listed(evidence: LayerEvidence, neuron: Neuron, name: str, spec: Listing) -> dict[str, Any]:
    """Return the row of an explainer that needs no LLM."""
    text = spec.text(evidence, neuron)
    parsed = ParsedAnswer(text, None, "ok") if text else None
    reply = Reply(None, "failed", "" if text else NO_TOKEN)
    return {
        **_row(evidence.layer, "none", Question(neuron, name, spec), reply, parsed),
        "explanation_id": fingerprint("token list", evidence.layer, neuron, name, text)[:32],
    }
