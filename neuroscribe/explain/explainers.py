"""From a neuron's exemplars to explanations: what is asked, what is answered, and what counts as one.

Every answer is stored by the content of its question before anything else happens to it. A refusal, an
unreadable answer or a failed call is a row with its status, never text posing as an explanation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from neuroscribe.calls import InFlight, answered_once, worked_through
from neuroscribe.errors import LLMError
from neuroscribe.escaping import escaped, storable
from neuroscribe.exemplars import Neuron
from neuroscribe.explain.highlights import highlight_messages
from neuroscribe.explain.parsing import explanation_text
from neuroscribe.explain.prompts import discretised, excerpt_pairs, explanation_prompt
from neuroscribe.explain.specs import Asking, Highlights, TokenList
from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports import LLM, CallStore, Message, Progress, Reply, Usage
from neuroscribe.records import EXPLANATIONS
from neuroscribe.studies import Study

_ANSWERS = 2
"""Raise when the code that asks or reads changes what the same prompt is answered with."""


@dataclass(frozen=True)
class LayerEvidence:
    """What the explainers may see of one layer: training exemplars and held-out token means."""

    layer: int
    neurons: tuple[Neuron, ...]
    records: pl.DataFrame
    """The layer's NEURON_RECORDS."""
    lookup: pl.DataFrame
    """The layer's TOKEN_LOOKUP."""
    tokens: Mapping[int, tuple[bytes, ...]]
    """Token bytes of every sequence in `records` that is shown."""
    vocabulary: pl.DataFrame


@dataclass(frozen=True)
class Question:
    """One prompt about one neuron."""

    neuron: Neuron
    sequence_ids: tuple[int, ...]
    messages: tuple[Message, ...]
    sample_index: int

    @property
    def prompt_sha256(self) -> str:
        """Hash of the prompt as sent."""
        return fingerprint([[message.role, message.content] for message in self.messages])


async def explained(
    study: Study, evidence: LayerEvidence, *, llm: LLM | None, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the explanations of the layer's sampled neurons by every explainer of the study.

    `llm` may be None when no explainer asks one. Calls that were answered in an earlier, interrupted run are
    read from `calls`.
    """
    rows: list[dict[str, Any]] = []
    for name, spec in study.explainers.items():
        if isinstance(spec, TokenList):
            rows += [_listed_tokens(evidence, neuron, name, spec) for neuron in evidence.neurons]
            continue
        if llm is None:
            raise LLMError(f"study {study.name}: explainer {name!r} asks an LLM, and none was given")
        rows += await _asked(study, evidence, name, spec, llm, calls, progress)
    return EXPLANATIONS.frame(rows)


def training_exemplars(records: pl.DataFrame, neuron: Neuron, count: int) -> pl.DataFrame:
    """Return the neuron's first `count` top exemplars of the training split, largest peak first."""
    return records.filter(
        (pl.col("neuron") == neuron[0])
        & (pl.col("polarity") == neuron[1])
        & (pl.col("kind") == "top")
        & (pl.col("split") == "train")
    ).sort("rank")[:count]


def excerpt_question(evidence: LayerEvidence, neuron: Neuron, spec: Asking, sample_index: int) -> Question:
    """Return the prompt that shows a neuron's training exemplars, as pairs or highlighted."""
    shown = training_exemplars(evidence.records, neuron, spec.excerpts)
    maximum = all_time_maximum(evidence.records, neuron)
    excerpts = [
        excerpt_pairs(
            evidence.tokens[row["sequence_id"]],
            discretised(pl.Series(row["activations"]).to_numpy(), maximum=maximum, polarity=neuron[1]),
            peak=row["peak_position"],
            length=spec.excerpt_tokens,
        )
        for row in shown.iter_rows(named=True)
    ]
    highlighted = isinstance(spec, Highlights)
    messages = highlight_messages(excerpts) if highlighted else explanation_prompt().messages(excerpts)
    return Question(neuron, tuple(shown["sequence_id"].to_list()), tuple(messages), sample_index)


def all_time_maximum(records: pl.DataFrame, neuron: Neuron) -> float:
    """Return the neuron's largest activation over the corpus on the explained side (polarity x peak)."""
    own = records.filter((pl.col("neuron") == neuron[0]) & (pl.col("polarity") == neuron[1]))
    peaks = own.filter(pl.col("kind") == "top")["peak"] * neuron[1]
    return float(peaks.to_numpy().max(initial=0.0))


async def _asked(
    study: Study,
    evidence: LayerEvidence,
    name: str,
    spec: Asking,
    llm: LLM,
    calls: CallStore,
    progress: Progress,
) -> list[dict[str, Any]]:
    questions = [
        excerpt_question(evidence, neuron, spec, index)
        for neuron in evidence.neurons
        for index in range(spec.candidates)
    ]
    label = f"explain {study.name} layer {evidence.layer}"
    in_flight: InFlight = {}
    with progress.task(label, total=len(questions), unit="explanations") as advance:

        async def ask(question: Question) -> Reply:
            reply = await _reply(llm, question, spec, calls, in_flight)
            advance(1, note=_cost(reply))
            return reply

        replies = await worked_through(questions, ask, at_once=llm.calls_at_once)
    return [
        _row(evidence.layer, name, llm.identity, question, reply)
        for question, reply in zip(questions, replies, strict=True)
    ]


async def _reply(llm: LLM, question: Question, spec: Asking, calls: CallStore, in_flight: InFlight) -> Reply:
    seed = question.sample_index
    decoding = (spec.temperature, spec.max_tokens, seed)
    key = fingerprint("explanation", _ANSWERS, llm.identity, question.prompt_sha256, *decoding)

    async def call() -> dict[str, Any]:
        reply = await llm.reply(
            question.messages, max_tokens=spec.max_tokens, temperature=spec.temperature, seed=seed
        )
        return {
            **vars(reply),
            "usage": vars(reply.usage),
            "prompt": [[message.role, message.content] for message in question.messages],
        }

    answer = await answered_once(
        key, calls, call, keep=lambda answer: answer["status"] != "failed", in_flight=in_flight
    )
    return Reply(answer["text"], answer["status"], answer["raw"], Usage(**answer["usage"]))


def _row(layer: int, explainer: str, model: str, question: Question, reply: Reply) -> dict[str, Any]:
    text, status = None, reply.status
    if reply.text is not None and status == "ok":
        text, status = explanation_text(storable(reply.text))
    identity = [layer, question.neuron, explainer, model, question.prompt_sha256, question.sample_index, text]
    return {
        "explanation_id": fingerprint("explanation", *identity)[:32],
        "layer": layer,
        "neuron": question.neuron[0],
        "polarity": question.neuron[1],
        "text": text,
        "long_text": None,
        "status": status,
        "explainer": explainer,
        "model": model,
        "prompt_sha256": question.prompt_sha256,
        "sample_index": question.sample_index,
        "sequence_ids": list(question.sequence_ids),
        **reply.usage.columns(),
        "raw_response": storable(reply.raw),
    }


def _listed_tokens(evidence: LayerEvidence, neuron: Neuron, name: str, spec: TokenList) -> dict[str, Any]:
    """Return the baseline explanation: the tokens whose mean activation is largest on the explained side."""
    own = evidence.lookup.filter((pl.col("neuron") == neuron[0]) & (pl.col("polarity") == neuron[1]))
    best = own.filter(pl.col("mean") > 0).sort("mean", "token_id", descending=[True, False])
    tokens = [
        escaped(evidence.vocabulary["bytes"][token]) for token in best["token_id"].to_list()[: spec.tokens]
    ]
    texts = dict.fromkeys(token.strip() or token for token in tokens)
    text = "the tokens " + ", ".join(f'"{token}"' for token in texts) if texts else None
    reply = Reply(None, "failed", "" if text else "no token has a positive mean")
    return {
        **_row(evidence.layer, name, "none", Question(neuron, (), (), 0), reply),
        "explanation_id": fingerprint("token list", evidence.layer, neuron, name, text)[:32],
        "text": text,
        "status": "ok" if text else "failed",
    }


def _cost(reply: Reply) -> str:
    return "" if reply.usage.cost_usd is None else f"${reply.usage.cost_usd:.4f}"


def distinct_sequences(records: Sequence[pl.DataFrame]) -> list[int]:
    """Return the ids of all sequences in some exemplar tables, ascending."""
    return sorted({sequence for frame in records for sequence in frame["sequence_id"].to_list()})
