"""An LLM that judges several excerpts in one call: asked with numbers, read number by number.

What it says of a number is never guessed: one that is missing, or said twice, is unparsable. There are no
probabilities, for the first token of such an answer is a number.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from neuroscribe.fingerprint import fingerprint
from neuroscribe.judge.judges import Judgement
from neuroscribe.judge.prompts import prompt_identity, together_messages
from neuroscribe.llm.calls import Form, Once, answer_form, turns
from neuroscribe.llm.faults import without_thoughts
from neuroscribe.ports.models import LLM
from neuroscribe.ports.replies import Message, ReadingStatus, Reply, Usage
from neuroscribe.ports.stores import CallStore

Shown = tuple[Sequence[bytes], Collection[int]]
"""An excerpt's tokens, and the places among them that are marked."""
_ANSWERS = 1
"""Raise when the code that asks or reads changes what the same prompt is answered with."""
_TOKENS_PER_ANSWER, _TOKENS_AROUND = 8, 8
"""Room for a number, a word and what parts them, and for whatever a model puts before them."""
_PART = re.compile(r"\W*(\d{1,4})\s*[.):=\-–—]*\s*\W*(yes|no)\b", re.IGNORECASE)
_BETWEEN = re.compile(r"[\n,;]")
"""Answers of models that continue a text end with the line, so that all stand on one; others may use more."""


@dataclass(frozen=True)
class Answers:
    """What one call says of several excerpts, in their order."""

    answers: list[bool | None]
    """None where its number has no answer, or two."""
    status: ReadingStatus = "ok"
    """Why some have none; `ok` if all have one."""
    usage: Usage = field(default_factory=Usage)
    raw: str = ""


def answers_in(reply: Reply, count: int) -> Answers:
    """Return what a reply says of excerpts 1 to `count`: each number, and yes or no after it."""
    said: dict[int, list[bool]] = {}
    for part in _BETWEEN.split(without_thoughts(reply.text or "")):
        if found := _PART.match(part):
            said.setdefault(int(found[1]), []).append(found[2].lower() == "yes")
    every = [said.get(number, []) for number in range(1, count + 1)]
    answers = [each[0] if len(each) == 1 else None for each in every]
    missing: ReadingStatus = "unparsable" if reply.status == "ok" else reply.status
    return Answers(answers, missing if None in answers else "ok", reply.usage, reply.raw)


class AskedTogether:
    """An LLM that is asked about several excerpts in a call; every answer is stored."""

    def __init__(self, llm: LLM, layout: str, calls: CallStore) -> None:
        self._llm, self._layout = llm, layout
        self.identity = f"{llm.identity}; answers together, {prompt_identity(layout)}"
        self.calls_at_once = llm.calls_at_once
        self._once = Once(calls, {"stage": "judgement", "model": self.identity})

    async def judgements(self, explanation: str, excerpts: Sequence[Shown]) -> list[Judgement]:
        """Ask, or return what was answered before, in the order of the excerpts."""
        messages, count = together_messages(self._layout, explanation, excerpts), len(excerpts)

        async def ask() -> Answers:
            limit = answer_tokens(count)
            reply = await self._llm.reply(messages, max_tokens=limit, temperature=0.0, seed=0)
            return answers_in(reply, count)

        found = await self._once.answer(
            together_key(self.identity, messages), ask, _form(count), prompt=messages
        )
        return _apart(found)


def answer_tokens(count: int) -> int:
    """Return how many tokens an answer about so many excerpts may take."""
    return _TOKENS_AROUND + _TOKENS_PER_ANSWER * count


def together_key(judge: str, messages: Sequence[Message]) -> str:
    """Return the key under which a judge's answer, by its identity, to a question is stored."""
    return fingerprint("judgements together", _ANSWERS, judge, turns(messages))


def _form(count: int) -> Form[Answers]:
    """Return the form of an answer about so many excerpts."""
    plain = answer_form(Answers)

    def read(stored: dict[str, Any]) -> Answers:
        answer = plain.read(stored)
        if len(answer.answers) != count:
            raise ValueError(f"{len(answer.answers)} answers about {count} excerpts")
        return answer

    return replace(plain, read=read)


def _apart(found: Answers) -> list[Judgement]:
    """Return the judgement of each excerpt, with its share of what the call took."""
    shares = shared_out(found.usage, len(found.answers))
    return [
        Judgement(answer, None, found.status if answer is None else "ok", usage, found.raw)
        for answer, usage in zip(found.answers, shares, strict=True)
    ]


def shared_out(usage: Usage, count: int) -> list[Usage]:
    """Return the usage in equal shares whose sum it is; what tokens are left over go to the first."""

    def share(tokens: int, place: int) -> int:
        return tokens // count + (place < tokens % count)

    return [
        Usage(
            share(usage.prompt_tokens, place),
            share(usage.cached_tokens, place),
            share(usage.completion_tokens, place),
            None if usage.cost_usd is None else usage.cost_usd / count,
        )
        for place in range(count)
    ]
