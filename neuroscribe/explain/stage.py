"""Explains the sampled neurons of one layer: what is asked, what is answered, and what counts as an answer.

Every answer is stored by the content of its question before anything else happens to it. A refusal, an
unreadable answer or a failed call is a row with its status, never text posing as an explanation.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

import polars as pl

from neuroscribe.errors import LLMError
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.asking import answers
from neuroscribe.explain.explainer import Asking, Before, Listing, Said
from neuroscribe.explain.parsing import ParsedAnswer, named_apart, parsed_answer
from neuroscribe.explain.questions import Question, before, explaining, explaining_order, questions
from neuroscribe.explain.stability import with_similarities
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Once
from neuroscribe.llm.capabilities import samples
from neuroscribe.ports.models import LLM, TextEncoder
from neuroscribe.ports.replies import Reply, Usage
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.tables.records import EXPLANATIONS
from neuroscribe.text.escaping import storable

_PARTS = "; "
"""Stands between the parts of an explanation in its text."""


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
    encoder = None
    if any(spec.uses_encoder for spec in study.explainers.values()):
        encoder = encoders.open(study.encoders[0], progress=progress)
    frame = await explained(evidence, llm=model, calls=calls, progress=progress, encoder=encoder)
    return with_similarities(frame, study, encoders=encoders, progress=progress)


def check(evidence: LayerEvidence) -> None:
    """Raise CapabilityError where an explainer shows what the layer's tables do not hold."""
    for name in evidence.study.explainers:
        explaining(evidence.study, name).check(evidence, name)


async def explained(
    evidence: LayerEvidence,
    *,
    llm: LLM | None,
    calls: CallStore,
    progress: Progress,
    encoder: TextEncoder | None = None,
) -> pl.DataFrame:
    """Return the explanations of the layer's sampled neurons by every explainer of the study.

    `llm` may be None when no explainer asks one. Calls that were answered in an earlier, interrupted run are
    read from `calls`. One explainer is done after the other, so that prompts which begin alike adjoin, and
    those that build on others after these.
    """
    study = evidence.study
    made: dict[str, list[dict[str, Any]]] = {}
    for name in explaining_order(study):
        spec, given = explaining(study, name), before(study, name, made, encoder=encoder)
        if isinstance(spec, Listing):
            made[name] = [listed(evidence, neuron, name, given) for neuron in spec.neurons(evidence)]
        else:
            asked = questions(evidence, name, given)
            made[name] = await _Asked(evidence, name, llm, calls, progress).rows(asked)
    return EXPLANATIONS.frame([row for name in study.explainers for row in made[name]])


@dataclass(frozen=True)
class _Asked:
    """Asks the questions of one explainer, and makes rows of the answers."""

    evidence: LayerEvidence
    explainer: str
    llm: LLM | None
    calls: CallStore
    progress: Progress

    async def rows(self, every: Sequence[Question]) -> list[dict[str, Any]]:
        """Return a row for each explanation; those about which there is nothing to ask come first."""
        asked = [question for question in every if question.shown.messages]
        answers = await self._answers(asked) if asked else []
        by_explanation: dict[Any, list[tuple[Question, Reply]]] = {}
        for question in every:
            if not question.shown.messages:
                mute = Reply(None, "failed", question.shown.reason)
                by_explanation.setdefault(question.makes, []).append((question, mute))
        for question, reply in zip(asked, answers, strict=True):
            by_explanation.setdefault(question.makes, []).append((question, reply))
        model = self.llm.identity if self.llm else "none"
        return [_row(self.evidence.layer, model, answered) for answered in by_explanation.values()]

    async def _answers(self, asked: Sequence[Question]) -> list[Reply]:
        study, layer, llm = self.evidence.study, self.evidence.layer, self.llm
        if llm is None:
            raise LLMError(
                f"study {study.name}: explainer {self.explainer!r} asks an LLM, and none was given"
            )
        once = Once(
            self.calls, {"stage": "explanation", "model": llm.identity, "study": study.name, "layer": layer}
        )
        label = f"explain {study.name} layer {layer}"
        with self.progress.task(label, total=len(asked), unit="explanations") as advance:

            def told(reply: Reply) -> None:
                advance(1, note=f"${reply.usage.cost_usd:.4f}" if reply.usage.cost_usd else "")

            return await answers(asked, llm, once, told)


def _parsed(reply: Reply, question: Question) -> ParsedAnswer | None:
    """Return what an answer says; there is none to a call that failed or was refused."""
    spec = question.spec
    if reply.status not in ("ok", "truncated") or not isinstance(spec, Asking):
        return None
    words, cut = spec.words, reply.status == "truncated"
    return parsed_answer(
        storable(reply.text or ""),
        form=spec.answer,
        prefix=words.prefix,
        no_theme=words.parts.get("no_theme", ""),
        cut=cut,
    )


def _row(layer: int, model: str, answered: Sequence[tuple[Question, Reply]]) -> dict[str, Any]:
    """Return the row of one explanation; of several parts those that were understood are its parts.

    Its status is that of the first part that was, or else of the first.
    """
    if not any(question.shown.messages for question, _ in answered):
        model = "none"
    parsed = [(_parsed(reply, question), reply.status) for question, reply in answered]
    texts = [said.text for said, _ in parsed if said and said.text]
    statuses = [said.status if said else status for said, status in parsed]
    question, _ = answered[0]
    prompts = [question.prompt_sha256 for question, _ in answered]
    shown = [sequence for question, _ in answered for sequence in question.shown.sequence_ids]
    is_one = len(answered) == 1
    return explanation_row(
        question,
        layer=layer,
        model=model,
        prompt=prompts[0] if is_one else fingerprint(prompts),
        text=_PARTS.join(dict.fromkeys(texts)) or None,
        long_text=parsed[0][0].long_text if is_one and parsed[0][0] else None,
        parts=_apart(question, texts) if is_one else list(dict.fromkeys(texts)) or None,
        status="ok" if texts else statuses[0],
        sequence_ids=list(dict.fromkeys(shown)),
        usage=reduce(add, (reply.usage for _, reply in answered)),
        raw=storable(answered[0][1].raw if is_one else json.dumps([reply.raw for _, reply in answered])),
    )


def _apart(question: Question, texts: Sequence[str]) -> list[str] | None:
    """Return the parts of the one text of an answer; None where it is read as a whole."""
    spec = question.spec
    return named_apart(texts[0]) if texts and isinstance(spec, Asking) and spec.apart else None


def explanation_row(
    question: Question,
    *,
    layer: int,
    model: str,
    prompt: str,
    text: str | None,
    long_text: str | None = None,
    parts: Sequence[str] | None = None,
    status: str,
    sequence_ids: Sequence[int],
    usage: Usage,
    raw: str,
) -> dict[str, Any]:
    """Return a row of EXPLANATIONS; its id names the explanation and how it was made."""
    identity = [layer, question.neuron, question.explainer, model, prompt, question.sample_index, text]
    if question.draw:
        identity.append(question.draw)
    return {
        "explanation_id": fingerprint("explanation", *identity)[:32],
        "layer": layer,
        "neuron": question.neuron[0],
        "polarity": question.neuron[1],
        "text": text,
        "long_text": long_text,
        "parts": parts,
        "half": question.spec.half,
        "sample": question.sample,
        "status": status,
        "explainer": question.explainer,
        "model": model,
        "prompt_sha256": prompt,
        "sample_index": question.sample_index,
        "draw": question.draw,
        "similarity": None,
        "sequence_ids": list(sequence_ids),
        **usage.columns(),
        "raw_response": raw,
    }


def listed(evidence: LayerEvidence, neuron: Neuron, name: str, given: Before) -> dict[str, Any]:
    """Return the row of an explainer that needs no LLM."""
    spec = explaining(evidence.study, name)
    assert isinstance(spec, Listing), "only such speak by themselves"
    said = spec.said(evidence, neuron, given)
    known = said if isinstance(said, Said) else None
    question = Question(neuron, name, spec, sample=evidence.drawn_as(neuron))
    row = explanation_row(
        question,
        layer=evidence.layer,
        model="none",
        prompt=question.prompt_sha256,
        text=known.text if known else None,
        parts=list(known.parts) if known and known.parts else None,
        status="ok" if known else "failed",
        sequence_ids=known.sequence_ids if known else (),
        usage=Usage(),
        raw="" if isinstance(said, Said) else said,
    )
    what = (evidence.layer, neuron, name, row["text"])
    return row | {"explanation_id": fingerprint("token list", *what)[:32]}
