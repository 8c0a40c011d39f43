"""Who judges: an LLM by its first token or by its answer, or a sentence encoder by similarity."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from math import exp
from typing import Any, Protocol, runtime_checkable

from neuroscribe.errors import CapabilityError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.judge.prompts import judging_messages, prompt_identity
from neuroscribe.llm.calls import Once, answer_form, first_token, turns
from neuroscribe.llm.logprobs import readable_logprobs
from neuroscribe.ports.models import LLM, Answerer, NextTokenScorer, TextEncoder
from neuroscribe.ports.replies import Message, NextToken, ReadingStatus, Reply, Usage
from neuroscribe.ports.stores import CallStore

_FIRST_WORD = re.compile(r"^\W*(yes|no)\b", re.IGNORECASE)
_EDGES = "\"'`*.,:;!()[]"


@dataclass(frozen=True)
class Judgement:
    """One answer; without a readable one, `status` says why."""

    answer: bool | None
    probability: float | None
    """Of yes; for an encoder the cosine similarity."""
    status: ReadingStatus = "ok"
    usage: Usage = field(default_factory=Usage)
    raw: str = ""


def judged_by_text(reply: Reply) -> Judgement:
    """Return the judgement in a reply; one cut off after its first word is readable."""
    said = _FIRST_WORD.match(reply.text or "")
    if said:
        return Judgement(said[1].lower() == "yes", None, "ok", reply.usage, reply.raw)
    status = "unparsable" if reply.status == "ok" else reply.status
    return Judgement(None, None, status, reply.usage, reply.raw)


def judged_by_first_token(first: NextToken) -> Judgement:
    """Return the judgement in the likeliest first tokens: P(yes) / (P(yes) + P(no)), spellings together."""
    if first.status != "ok":
        return Judgement(None, None, first.status, first.usage, first.raw)
    mass = _masses(first.top_logprobs)
    total = mass["yes"] + mass["no"]
    if total <= 0:
        return Judgement(None, None, "unparsable", first.usage, first.raw)
    yes = mass["yes"] / total
    return Judgement(yes > 0.5, yes, "ok", first.usage, first.raw)


def _masses(top_logprobs: Mapping[str, float]) -> dict[str, float]:
    mass = {"yes": 0.0, "no": 0.0}
    for token, logprob in readable_logprobs(top_logprobs).items():
        word = token.strip().strip(_EDGES).lower()
        if word in mass:
            mass[word] += exp(logprob)
    return mass


_ANSWERS = 1
"""Raise when the code that asks or reads changes what the same prompt is answered with."""
MAX_TOKENS = 8
"""Room for one word and whatever a model puts before it."""
_JUDGEMENT = answer_form(Judgement)


@runtime_checkable
class Judge(Answerer, Protocol):
    """Says of one excerpt whether it fits an explanation."""

    async def judgement(
        self, explanation: str, tokens: Sequence[bytes], marked: Collection[int]
    ) -> Judgement:
        """Judge an excerpt; `marked` are places among its tokens."""
        ...


class AskedJudge:
    """Fulfils the port `Judge` with an LLM, one question a call; every answer is stored."""

    def __init__(self, llm: LLM, layout: str, calls: CallStore, *, by_first_token: bool) -> None:
        self._llm, self._layout = llm, layout
        self._scorer = llm if by_first_token and isinstance(llm, NextTokenScorer) else None
        way = "answers" if self._scorer is None else "first token"
        self.identity = f"{llm.identity}; {way}, {prompt_identity(layout)}"
        self.calls_at_once = llm.calls_at_once
        self._once = Once(calls, {"stage": "judgement", "model": self.identity})

    async def judgement(
        self, explanation: str, tokens: Sequence[bytes], marked: Collection[int]
    ) -> Judgement:
        """Ask, or return what was answered before; failures are not stored, so the next run asks again."""
        messages = judging_messages(self._layout, explanation, tokens, marked)
        key = judgement_key(self.identity, messages)
        return await self._once.answer(key, lambda: self._asked(messages), _JUDGEMENT, prompt=messages)

    async def _asked(self, messages: Sequence[Message]) -> Judgement:
        if self._scorer is not None:
            return judged_by_first_token(await first_token(self._scorer, messages))
        reply = await self._llm.reply(messages, max_tokens=MAX_TOKENS, temperature=0.0, seed=0)
        return judged_by_text(reply)


def judgement_key(judge: str, messages: Sequence[Message]) -> str:
    """Return the key under which a judge's answer, by its identity, to a question is stored."""
    return fingerprint("judgement", _ANSWERS, judge, turns(messages))


class SimilarityJudge:
    """Fulfils the port `Judge` with a sentence encoder: cosine of explanation and excerpt, and no answer."""

    calls_at_once = 1
    """Vectors are computed here, one after the other."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, Any] = {}
        self.identity = f"{encoder.identity}; cosine of explanation and excerpt"

    async def judgement(
        self, explanation: str, tokens: Sequence[bytes], marked: Collection[int]
    ) -> Judgement:
        """Return the cosine similarity."""
        return Judgement(None, self.similarity(explanation, excerpt_text(tokens)))

    def similarity(self, one: str, other: str) -> float:
        """Return the cosine of two texts; vectors are kept, for excerpts and explanations recur."""
        for text in (one, other):
            if text not in self._vectors:
                self._vectors[text] = self._encoder.sentence(text)
        return float(self._vectors[one] @ self._vectors[other])


def excerpt_text(tokens: Sequence[bytes]) -> str:
    """Return an excerpt as text for an encoder; bytes that are no UTF-8 become replacement characters."""
    return b"".join(tokens).decode("utf-8", errors="replace")


async def gives_first_tokens(llm: LLM) -> bool:
    """Tell whether a model gives the log-probabilities of an answer's first token."""
    if not isinstance(llm, NextTokenScorer):
        return False
    try:
        await llm.probe_next_token()
    except CapabilityError:
        return False
    return True
