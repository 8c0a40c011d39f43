"""Samples of what a run asks: questions of its forms with next to nothing in them, to be tried before it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.replies import Message, Role, Schema

_ROLES: dict[str, Role] = {"s": "system", "u": "user", "a": "assistant"}
_WORDS: dict[Role, str] = {"system": "Answer in one word.", "user": "Say yes.", "assistant": "Yes."}


@dataclass(frozen=True)
class Sample:
    """A tiny question in the form of many."""

    messages: tuple[Message, ...]
    max_tokens: int = 16
    temperature: float = 0.0
    schema: Schema | None = None

    @property
    def form(self) -> str:
        """What a server may refuse of it: samples of one form are as good as one."""
        roles = [message.role for message in self.messages]
        return fingerprint("form of questions", roles, self.max_tokens, self.temperature, self.schema)


SAY_YES = Sample((Message("user", "Say yes."),))
A_DIGIT = Sample((Message("user", "Say a digit."),), max_tokens=1)


def sample_of(
    messages: Sequence[Message], *, max_tokens: int, temperature: float = 0.0, schema: Schema | None = None
) -> Sample:
    """Return a sample of what is asked by `messages`: turns of the same roles, of which none recur."""
    roles = "".join(message.role[0] for message in messages)
    begun = roles.endswith("a")
    # One worked example is in the form of many; the answer that is begun at the end is none.
    once = re.sub("(ua)+(?=u)", "ua", roles[:-1] if begun else roles) + "a" * begun
    turns = tuple(Message(_ROLES[role], _WORDS[_ROLES[role]]) for role in once)
    if begun:
        turns = (*turns[:-1], Message("assistant", "Answer:"))
    return Sample(turns, max_tokens, temperature, schema)


def distinct(samples: Sequence[Sample]) -> list[Sample]:
    """Return one sample of each form; of those that differ in the length of the answer, the longest."""
    longest: dict[str, Sample] = {}
    for sample in samples:
        form = replace(sample, max_tokens=0).form
        if form not in longest or longest[form].max_tokens < sample.max_tokens:
            longest[form] = sample
    return list(longest.values())
