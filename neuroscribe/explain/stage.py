"""Explains the sampled neurons of one layer: what is asked, what is answered, and what counts as an answer.

Every answer is stored by the content of its question before anything else happens to it. A refusal, an
unreadable answer or a failed call is a row with its status, never text posing as an explanation.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import add
from typing import Any

import polars as pl

from neuroscribe.errors import LLMError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.asking import answers, parsed_reply
from neuroscribe.explain.auto import Auto
from neuroscribe.explain.explainer import Asking, Before, Listing, Said, Unsaid
from neuroscribe.explain.parsing import named_apart
from neuroscribe.explain.probe import chosen_form
from neuroscribe.explain.questions import Question, before, explaining, explaining_order, questions
from neuroscribe.explain.stability import with_similarities
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Once
from neuroscribe.llm.capabilities import samples
from neuroscribe.ports.labels import Labels, LabelSource
from neuroscribe.ports.models import LLM, TextEncoder
from neuroscribe.ports.replies import Reply, Usage
from neuroscribe.ports.sources import EncoderSource, LLMSource
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.labels import LabelsSpec
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS
from neuroscribe.text.escaping import escaped, storable
from neuroscribe.text.phrases import end_text

_PARTS = "; "
"""Stands between the parts of an explanation in its text."""


async def explained_layer(
    evidence: LayerEvidence,
    *,
    llm: LLMSource,
    encoders: EncoderSource,
    calls: CallStore,
    progress: Progress,
    labels: LabelSource | None = None,
) -> pl.DataFrame:
    """Return the EXPLANATIONS of a layer's sample; a model or an encoder is opened only if it is needed.

    What can be known is checked before the first prompt: a wrong key, an absent server, and an explainer
    that needs weights whose meaning is not known for the subject's architecture (CapabilityError).
    """
    study = evidence.study
    check(evidence)
    read = opened_labels(study, labels)
    model = llm.open(study.llm, progress=progress) if study.explaining_needs else None
    if model is not None:
        await model.check(samples(study.asking("llm").values(), study.corpus.sequence_length))
    paraphraser = await opened_paraphraser(study, llm, progress)
    encoder = None
    if any(spec.uses_encoder for spec in study.explainers.values()):
        encoder = encoders.open(study.encoders[0], progress=progress)
    frame = await explained(
        evidence,
        llm=model,
        calls=calls,
        progress=progress,
        encoder=encoder,
        paraphraser=paraphraser,
        labels=read,
    )
    return with_similarities(frame, study, encoders=encoders, progress=progress)


def opened_labels(study: Study, labels: LabelSource | None) -> dict[str, Labels]:
    """Return what others have said of the neurons, by the explainers that read it.

    Raises LabelError for what is wrong in their files.
    """
    reading = {name: spec for name, spec in study.explainers.items() if isinstance(spec, LabelsSpec)}
    assert labels or not reading, "whoever runs such a study gives it labels"
    return {name: labels.open(spec, study) for name, spec in reading.items()} if labels else {}


async def opened_paraphraser(study: Study, llm: LLMSource, progress: Progress | None) -> LLM | None:
    """Return the study's [paraphraser_llm], tried as it will be asked; None where nothing asks it."""
    asking = study.asking("paraphraser_llm").values()
    if study.paraphraser_llm is None or not asking:
        return None
    model = llm.open(study.paraphraser_llm, progress=progress, beside=study.llm, section="paraphraser_llm")
    await model.check(samples(asking, study.corpus.sequence_length))
    return model


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
    paraphraser: LLM | None = None,
    labels: Mapping[str, Labels] | None = None,
) -> pl.DataFrame:
    """Return the explanations of the layer's sampled neurons by every explainer of the study.

    `llm` may be None when no explainer asks one. Calls that were answered in an earlier, interrupted run are
    read from `calls`. One explainer is done after the other, so that prompts which begin alike adjoin, and
    those that build on others after these.
    """
    study = evidence.study
    made: dict[str, list[dict[str, Any]]] = {}
    for name in explaining_order(study):
        own = (labels or {}).get(name)
        spec, given = explaining(study, name), before(study, name, made, encoder=encoder, labels=own)
        if isinstance(spec, Auto) and spec.is_tried:
            given = replace(given, form=await _form(evidence, name, llm, encoder, calls, progress))
        if isinstance(spec, Listing):
            made[name] = list(listed(evidence, name, given))
        else:
            asked = questions(evidence, name, given)
            model = paraphraser if spec.asks == "paraphraser_llm" else llm
            made[name] = await _Asked(evidence, name, model, calls, progress).rows(asked)
    return EXPLANATIONS.frame([row for name in study.explainers for row in made[name]])


async def _form(
    evidence: LayerEvidence,
    name: str,
    llm: LLM | None,
    encoder: TextEncoder | None,
    calls: CallStore,
    progress: Progress,
) -> str:
    """Return the form in which the explainer `auto` asks; raises LLMError without a model."""
    if llm is None or encoder is None:
        raise LLMError(
            f"study {evidence.study.name}: explainer {name!r} tries an LLM with an encoder; one of them was"
            " not given"
        )
    return await chosen_form(evidence.study, name, llm, encoder, _once(evidence, llm, calls), progress)


def _once(evidence: LayerEvidence, llm: LLM, calls: CallStore) -> Once:
    made_for = {"stage": "explanation", "model": llm.identity}
    return Once(calls, {**made_for, "study": evidence.study.name, "layer": evidence.layer})


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
        once = _once(self.evidence, llm, self.calls)
        label = f"explain {study.name} layer {layer}"
        with self.progress.task(label, total=len(asked), unit="explanations") as advance:

            def told(reply: Reply) -> None:
                advance(1, note=f"${reply.usage.cost_usd:.4f}" if reply.usage.cost_usd else "")

            return await answers(asked, llm, once, told)


def _row(layer: int, model: str, answered: Sequence[tuple[Question, Reply]]) -> dict[str, Any]:
    """Return the row of one explanation; of several parts those that were understood are its parts.

    Its status is that of the first part that was, or else of the first.
    """
    if not any(question.shown.messages for question, _ in answered):
        model = "none"
    parsed = [(parsed_reply(reply, question), reply.status) for question, reply in answered]
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
    """Return the parts of the one text of an answer; None where it is read as a whole.

    A word of the input half is read where it stands, after the kind of word that it is named as an example
    of: held against tokens in context, "cooking verbs: boil" is "boil" (docs/decisions/0025).
    """
    spec = question.spec
    named = named_apart(texts[0]) if texts and isinstance(spec, Asking) and spec.apart else None
    if named is None or spec.half == "output":
        return named
    return [end_text(escaped(part.encode("utf-8", "surrogatepass"))) for part in named]


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
        "form": question.form or question.spec.kind_name,
        "model": model,
        "prompt_sha256": prompt,
        "sample_index": question.sample_index,
        "draw": question.draw,
        "similarity": None,
        "sequence_ids": list(sequence_ids),
        **usage.columns(),
        "raw_response": raw,
    }


def listed(evidence: LayerEvidence, name: str, given: Before) -> Iterator[dict[str, Any]]:
    """Yield the rows of an explainer that needs no LLM, neuron by neuron."""
    spec = explaining(evidence.study, name)
    assert isinstance(spec, Listing), "only such speak by themselves"
    for neuron in spec.neurons(evidence):
        for index, said in enumerate(spec.said_each(evidence, neuron, given)):
            question = Question(neuron, name, spec, sample_index=index, sample=evidence.drawn_as(neuron))
            yield _listed_row(evidence.layer, question, said)


def _listed_row(layer: int, question: Question, said: Said | Unsaid) -> dict[str, Any]:
    known = said if isinstance(said, Said) else None
    row = explanation_row(
        question,
        layer=layer,
        model="none",
        prompt=question.prompt_sha256,
        text=known.text if known else None,
        parts=list(known.parts) if known and known.parts else None,
        status=said.status if isinstance(said, Unsaid) else "ok",
        sequence_ids=known.sequence_ids if known else (),
        usage=Usage(),
        raw=said.reason if isinstance(said, Unsaid) else said.raw,
    )
    what: list[Any] = [layer, question.neuron, question.explainer, row["text"]]
    if question.sample_index:
        what.append(question.sample_index)
    return row | {"explanation_id": fingerprint("token list", *what)[:32]}
