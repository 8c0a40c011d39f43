"""From a layer's evidence to explanations: what is asked, what is answered, and what counts as one.

Every answer is stored by the content of its question before anything else happens to it. A refusal, an
unreadable answer or a failed call is a row with its status, never text posing as an explanation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from neuroscribe.errors import LLMError
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.explain.evidence import (
    LayerEvidence,
    ShownExcerpts,
    promoted_tokens,
    shown_excerpts,
    strongest_tokens,
)
from neuroscribe.explain.highlights import highlight_messages, logit_lens_messages, token_summary_messages
from neuroscribe.explain.parsing import SCHEMA, ParsedAnswer, parsed_answer
from neuroscribe.explain.prompts import following, next_token_messages, token_pair_messages
from neuroscribe.explain.wording import wording
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import InFlight, answered_once, worked_through
from neuroscribe.ports.models import LLM
from neuroscribe.ports.replies import Message, Reply, Usage
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.explainers import (
    AskingSpec,
    Highlights,
    LogitLens,
    NextToken,
    Showing,
    TokenList,
    TokenSummary,
)
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS
from neuroscribe.text.escaping import storable

NO_TOKEN = "no token has a positive mean"  # noqa: S105 - no password
SILENT = "no training exemplar shows the neuron firing"


@dataclass(frozen=True)
class Question:
    """One prompt about one neuron; without messages there is nothing to ask, for the reason given."""

    neuron: Neuron
    sequence_ids: tuple[int, ...]
    messages: tuple[Message, ...]
    sample_index: int = 0
    reason: str = ""

    @property
    def prompt_sha256(self) -> str:
        """Hash of the prompt as sent."""
        return fingerprint([[message.role, message.content] for message in self.messages])


def questions(evidence: LayerEvidence, spec: AskingSpec) -> list[Question]:
    """Return a layer's questions, the candidates of each neuron side by side; a mute neuron has one."""
    found: list[Question] = []
    for neuron in evidence.neurons:
        sequence_ids, messages, reason = _put(evidence, neuron, spec)
        for index in range(spec.candidates if messages else 1):
            found.append(Question(neuron, sequence_ids, messages, index, reason))
    return found


def _put(
    evidence: LayerEvidence, neuron: Neuron, spec: AskingSpec
) -> tuple[tuple[int, ...], tuple[Message, ...], str]:
    """Return the sequences shown, the prompt, and the reason if there is none."""
    if isinstance(spec, TokenSummary):
        ranked = strongest_tokens(evidence, neuron, count=spec.among, occurrences=spec.occurrences)
        tokens = spread(ranked, spec.tokens)
        return (), token_summary_messages(tokens, spec.answer) if tokens else (), "" if tokens else NO_TOKEN
    shown = shown_excerpts(evidence, neuron, spec.excerpts, spec.excerpt_tokens)
    if isinstance(spec, NextToken):
        shown = _with_next_tokens(shown)
    if not any(value for pairs in shown.excerpts for _, value in pairs):
        return shown.sequence_ids, (), SILENT
    return shown.sequence_ids, _excerpt_messages(evidence, neuron, spec, shown), ""


def _excerpt_messages(
    evidence: LayerEvidence, neuron: Neuron, spec: Showing, shown: ShownExcerpts
) -> tuple[Message, ...]:
    strongest_last = tuple(reversed(shown.excerpts))
    match spec:
        case NextToken():
            return next_token_messages(shown.excerpts, spec.answer)
        case LogitLens():
            promoted = promoted_tokens(evidence, neuron, spec.promoted)
            return logit_lens_messages(strongest_last, promoted, spec.answer)
        case Highlights():
            return highlight_messages(strongest_last, spec.answer)
        case _:
            return token_pair_messages(shown.excerpts, spec.answer)


def _with_next_tokens(shown: ShownExcerpts) -> ShownExcerpts:
    return ShownExcerpts(shown.sequence_ids, tuple(tuple(following(pairs)) for pairs in shown.excerpts))


def spread(ranked: list[str], count: int) -> list[str]:
    """Return `count` tokens at even distances among the ranks, the first included; all if there are fewer."""
    if len(ranked) <= count:
        return ranked
    return [ranked[place * len(ranked) // count] for place in range(count)]


_ANSWERS = 3
"""Raise when the code that asks or reads changes what the same prompt is answered with."""


async def explained(
    study: Study, evidence: LayerEvidence, *, llm: LLM | None, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the explanations of the layer's sampled neurons by every explainer of the study.

    `llm` may be None when no explainer asks one. Calls that were answered in an earlier, interrupted run are
    read from `calls`. One explainer is done after the other, so that prompts which begin alike adjoin.
    """
    rows: list[dict[str, Any]] = []
    for name, spec in study.explainers.items():
        if isinstance(spec, TokenList):
            rows += [listed_tokens(evidence, neuron, name, spec) for neuron in evidence.neurons]
            continue
        if llm is None:
            raise LLMError(f"study {study.name}: explainer {name!r} asks an LLM, and none was given")
        rows += await _asked(study, evidence, name, spec, llm, calls, progress)
    return EXPLANATIONS.frame(rows)


async def _asked(
    study: Study,
    evidence: LayerEvidence,
    name: str,
    spec: AskingSpec,
    llm: LLM,
    calls: CallStore,
    progress: Progress,
) -> list[dict[str, Any]]:
    every = questions(evidence, spec)
    asked = [question for question in every if question.messages]
    label = f"explain {study.name} layer {evidence.layer}"
    in_flight: InFlight = {}
    about = {"stage": "explanation", "model": llm.identity, "study": study.name, "layer": evidence.layer}
    with progress.task(label, total=len(asked), unit="explanations") as advance:

        async def ask(question: Question) -> Reply:
            reply = await _reply(llm, question, spec, calls, in_flight, about)
            advance(1, note=_cost(reply))
            return reply

        replies = await worked_through(asked, ask, at_once=llm.calls_at_once)
    mute = [
        _row(evidence.layer, name, "none", question, Reply(None, "failed", question.reason), None)
        for question in every
        if not question.messages
    ]
    prefix = wording(spec.kind).prefix
    return mute + [
        _row(evidence.layer, name, llm.identity, question, reply, _parsed(reply, spec, prefix))
        for question, reply in zip(asked, replies, strict=True)
    ]


def reply_key(model: str, question: Question, spec: AskingSpec) -> str:
    """Return the key under which the answer of a model, by its identity, to a question is stored."""
    decoding = (spec.temperature, spec.answer_tokens, question.sample_index, spec.answer)
    return fingerprint("explanation", _ANSWERS, model, question.prompt_sha256, *decoding)


async def _reply(
    llm: LLM,
    question: Question,
    spec: AskingSpec,
    calls: CallStore,
    in_flight: InFlight,
    about: Mapping[str, Any],
) -> Reply:
    key = reply_key(llm.identity, question, spec)

    async def call() -> dict[str, Any]:
        reply = await llm.reply(
            question.messages,
            max_tokens=spec.answer_tokens,
            temperature=spec.temperature,
            seed=question.sample_index,
            schema=SCHEMA if spec.answer == "schema" else None,
        )
        return {
            **vars(reply),
            "usage": vars(reply.usage),
            "prompt": [[message.role, message.content] for message in question.messages],
        }

    return await answered_once(
        key,
        calls,
        call,
        read=_restored,
        keep=lambda answer: answer["status"] != "failed",
        in_flight=in_flight,
        about=about,
    )


def _restored(answer: Mapping[str, Any]) -> Reply:
    return Reply(answer["text"], answer["status"], answer["raw"], Usage(**answer["usage"]))


def _parsed(reply: Reply, spec: AskingSpec, prefix: str) -> ParsedAnswer | None:
    """Return what a whole answer says; there is none to a call that failed, was refused or was cut off."""
    if reply.status != "ok":
        return None
    return parsed_answer(storable(reply.text or ""), form=spec.answer, prefix=prefix)


def _row(
    layer: int, explainer: str, model: str, question: Question, reply: Reply, parsed: ParsedAnswer | None
) -> dict[str, Any]:
    text = parsed.text if parsed else None
    identity = [layer, question.neuron, explainer, model, question.prompt_sha256, question.sample_index, text]
    return {
        "explanation_id": fingerprint("explanation", *identity)[:32],
        "layer": layer,
        "neuron": question.neuron[0],
        "polarity": question.neuron[1],
        "text": text,
        "long_text": parsed.long_text if parsed else None,
        "status": parsed.status if parsed else reply.status,
        "explainer": explainer,
        "model": model,
        "prompt_sha256": question.prompt_sha256,
        "sample_index": question.sample_index,
        "sequence_ids": list(question.sequence_ids),
        **reply.usage.columns(),
        "raw_response": storable(reply.raw),
    }


def listed_tokens(evidence: LayerEvidence, neuron: Neuron, name: str, spec: TokenList) -> dict[str, Any]:
    """Return the baseline explanation: the tokens whose mean activation is largest on the explained side."""
    tokens = strongest_tokens(evidence, neuron, count=spec.tokens)
    texts = dict.fromkeys(token.strip() or token for token in tokens)
    text = "the tokens " + ", ".join(f'"{token}"' for token in texts) if texts else None
    parsed = ParsedAnswer(text, None, "ok") if text else None
    reply = Reply(None, "failed", "" if text else NO_TOKEN)
    return {
        **_row(evidence.layer, name, "none", Question(neuron, (), ()), reply, parsed),
        "explanation_id": fingerprint("token list", evidence.layer, neuron, name, text)[:32],
    }


def _cost(reply: Reply) -> str:
    return f"${reply.usage.cost_usd:.4f}" if reply.usage.cost_usd else ""
