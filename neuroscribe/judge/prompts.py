"""The judging prompts: instruction, worked examples, the explanation, and last of all one excerpt.

All that comes before the excerpt is the same for every question about an explanation, so that servers find it
in their caches. Turns alternate, as chat templates want. Wording is data: `prompts.toml`.
"""

from collections.abc import Collection, Sequence
from functools import cache

from neuroscribe.explain.highlights import marked as shown_with_marks
from neuroscribe.ports.replies import Message
from neuroscribe.study.prompts import STRONG, JudgingLayout, judging_wording
from neuroscribe.text.escaping import escaped, unforged


def judging_messages(
    layout: JudgingLayout, explanation: str, tokens: Sequence[bytes], marked: Collection[int] = ()
) -> list[Message]:
    """Return the question about one excerpt; `marked` are places among its tokens."""
    pairs = [(escaped(token), STRONG if place in marked else 0) for place, token in enumerate(tokens)]
    return [
        *_beginning(layout),
        *_opening(layout, explanation),
        _question(layout, shown_with_marks([pairs])[0]),
    ]


@cache
def _beginning(layout: JudgingLayout) -> tuple[Message, ...]:
    data = judging_wording()[layout]
    turns = [Message("system", data["instruction"].strip())]
    for example in data["example"]:
        turns += _opening(layout, example["explanation"])
        for excerpt, answer in example["excerpts"]:
            turns += [_question(layout, excerpt), Message("assistant", answer)]
    return tuple(turns)


def _opening(layout: JudgingLayout, explanation: str) -> list[Message]:
    data = judging_wording()[layout]
    # Not str.format: explanations and excerpts may hold braces.
    said = data["description"].replace("{explanation}", unforged(explanation))
    return [Message("user", said), Message("assistant", data["ready"])]


def _question(layout: JudgingLayout, excerpt: str) -> Message:
    return Message("user", judging_wording()[layout]["question"].replace("{excerpt}", excerpt))
