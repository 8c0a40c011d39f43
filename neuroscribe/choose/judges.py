"""Who chooses: an LLM by its answer, or a sentence encoder by similarity."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from neuroscribe.choose.prompts import prompt_identity
from neuroscribe.choose.trials import MAX_TOKENS, Trial
from neuroscribe.llm.calls import Once, answer_form
from neuroscribe.ports.models import LLM, Answerer, TextEncoder
from neuroscribe.ports.replies import ReadingStatus, Reply, Usage
from neuroscribe.ports.stores import CallStore

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Choice:
    """One answer; without a readable one, `status` says why."""

    chosen: int | None
    """Place among the options, from 0."""
    status: ReadingStatus = "ok"
    usage: Usage = field(default_factory=Usage)
    raw: str = ""


def choice_in(reply: Reply, options: int) -> Choice:
    """Return the choice in a reply: its first number; one cut off after that is readable."""
    number = _NUMBER.search(reply.text or "")
    if number and 1 <= int(number[0]) <= options:
        return Choice(int(number[0]) - 1, "ok", reply.usage, reply.raw)
    return Choice(None, "unparsable" if reply.status == "ok" else reply.status, reply.usage, reply.raw)


_CHOICE = answer_form(Choice)


@runtime_checkable
class Chooser(Answerer, Protocol):
    """Chooses among options."""

    async def choice(self, trial: Trial) -> Choice:
        """Answer one question."""
        ...


class AskedChooser:
    """Fulfils the port `Chooser` with an LLM, one question a call; every answer is stored."""

    def __init__(self, llm: LLM, layouts: Sequence[str], calls: CallStore) -> None:
        self._llm = llm
        self.identity = "; ".join([llm.identity, *map(prompt_identity, layouts)])
        self.calls_at_once = llm.calls_at_once
        self._once = Once(calls, {"stage": "choice", "model": self.identity})

    async def choice(self, trial: Trial) -> Choice:
        """Ask, or return what was answered before; failures are not stored, so the next run asks again."""
        messages = trial.messages

        async def ask() -> Choice:
            reply = await self._llm.reply(messages, max_tokens=MAX_TOKENS, temperature=0.0, seed=0)
            return choice_in(reply, len(trial.options))

        return await self._once.answer(trial.key(self.identity), ask, _CHOICE, prompt=messages)


class EncoderChooser:
    """Fulfils the port `Chooser` with a sentence encoder: the option with the largest cosine to the text.

    An option's cosine is the mean over its texts; where an explanation has parts, the largest of any part's.
    Of equal ones the first is chosen; the order is drawn.
    """

    calls_at_once = 1
    """Vectors are computed here, one after the other."""

    def __init__(self, encoder: TextEncoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, Float[np.ndarray, " feature"]] = {}
        self.identity = f"{encoder.identity}; cosine of explanation and option"

    async def choice(self, trial: Trial) -> Choice:
        """Return the option that is most similar to the explanation on average."""
        targets = [self._vector(part) for part in trial.parts or (trial.text,)]
        cosines = [
            max(float(np.mean([target @ vector for vector in vectors])) for target in targets)
            for vectors in (
                [self._vector(_readable(text)) for text in option.texts] for option in trial.options
            )
        ]
        return Choice(int(np.argmax(cosines)))

    def _vector(self, text: str) -> Float[np.ndarray, " feature"]:
        """Return a text's vector; it is kept, for explanations and options recur."""
        if text not in self._vectors:
            self._vectors[text] = self._encoder.sentence(text)
        return self._vectors[text]


def _readable(text: bytes) -> str:
    return text.decode("utf-8", errors="replace")
