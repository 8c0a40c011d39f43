"""Excerpts dealt out to calls: which are shown together, and in which order.

A call shows no excerpt twice, so that right and wrong marks of one are never side by side; firing and silent
excerpts are spread alike over the calls of an explanation. The order is a seeded one, the same for an
explanation and for the control that is held against the same excerpts.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.judge.excerpts import Excerpt
from neuroscribe.judge.judging import AskingJudge
from neuroscribe.judge.prompts import together_messages
from neuroscribe.judge.questions import Question, questions
from neuroscribe.judge.together import Shown, answer_tokens, together_key
from neuroscribe.llm.calls import Question as Askable
from neuroscribe.llm.calls import Request
from neuroscribe.ports.replies import Message, as_text
from neuroscribe.study.spec import Study


@dataclass(frozen=True)
class Call:
    """Questions about one explanation that are asked together. Fulfils `llm.calls.Question`."""

    questions: tuple[Question, ...]
    places: tuple[int, ...]
    """Of these questions among all that a scorer asks."""

    @property
    def text(self) -> str:
        """The explanation."""
        return self.questions[0].text

    @property
    def shown(self) -> list[Shown]:
        """The excerpts in the order of their numbers."""
        return [(question.tokens, question.marked) for question in self.questions]

    @property
    def messages(self) -> list[Message]:
        """The prompt."""
        spec = self.questions[0].spec
        assert isinstance(spec, AskingJudge), "only an LLM is asked"
        return together_messages(spec.layout, self.text, self.shown)

    def key(self, identity: str) -> str:
        """Return the key under which a judge's answer, by its identity, is stored."""
        return together_key(identity, self.messages)

    @property
    def n_calls(self) -> int:
        """One."""
        return 1

    def requests(self) -> list[Request]:
        """Return the prompt."""
        return [(as_text(self.messages), answer_tokens(len(self.questions)))]


def asked_calls(evidence: LayerEvidence, name: str) -> Sequence[Askable]:
    """Return the calls of a judging scorer: one an excerpt, or one for several."""
    asked = questions(evidence, name)
    return calls(evidence.study, name, asked) if per_call(evidence.study, name) > 1 else asked


def per_call(study: Study, name: str) -> int:
    """Return how many excerpts a call of a judging scorer shows at most."""
    spec = study.judging[name]
    return spec.per_call if isinstance(spec, AskingJudge) else 1


def calls(study: Study, name: str, asked: Sequence[Question]) -> list[Call]:
    """Return what a scorer asks as calls, of which none holds more excerpts than its settings allow."""
    places = range(len(asked))
    together = groupby(
        places, lambda place: (asked[place].explanation_id, asked[place].neuron, asked[place].split)
    )
    return [
        Call(tuple(asked[place] for place in call), tuple(call))
        for (_, neuron, split), group in together
        for call in _of_one(study, name, (*neuron, split), {place: asked[place].excerpt for place in group})
    ]


def calls_behind(study: Study, name: str, judgements: pl.DataFrame) -> int:
    """Return how many calls gave a scorer's JUDGEMENTS, of which each names the explanation's `text`.

    Questions about equal texts share their calls.
    """
    asked = judgements.unique(["text", "neuron", "polarity", "split", "sequence_id", "item"])
    groups = asked.sort("sequence_id", "item").partition_by(
        "text", "neuron", "polarity", "split", as_dict=True
    )
    return sum(
        len(list(_of_one(study, name, key[1:], dict(enumerate(map(_excerpt, rows.iter_rows(named=True)))))))
        for key, rows in groups.items()
    )


def _excerpt(row: Mapping[str, Any]) -> Excerpt:
    return Excerpt(row["sequence_id"], row["start"], row["stop"], row["kind"], row["label"])


def _of_one(
    study: Study, name: str, about: Sequence[object], excerpts: Mapping[int, Excerpt]
) -> Iterator[list[int]]:
    """Yield the places of the excerpts that each call about one explanation and neuron shows."""
    seed = f"together {study.scoring.seed} {name} {' '.join(map(str, about))}"
    order = sorted(excerpts, key=lambda place: (excerpts[place].sequence_id, excerpts[place].start, place))
    for call in dealt([excerpts[place] for place in order], per_call(study, name), seed=seed):
        yield [order[place] for place in call]


def dealt(excerpts: Sequence[Excerpt], most: int, *, seed: str) -> list[list[int]]:
    """Return which excerpts, by place, are shown in each call of at most `most`, in a seeded order.

    There are as few calls as their number allows, of nearly the same size; two at least where an excerpt is
    there with right and with wrong marks.
    """
    draw = random.Random(seed)  # noqa: S311 - a seeded draw
    order = list(range(len(excerpts)))
    draw.shuffle(order)
    alike = Counter(map(_stretch, excerpts))
    fewest = max(-(-len(excerpts) // most), max(alike.values(), default=0))
    hands: list[list[int]] = [[] for _ in range(fewest)]
    for place in sorted(order, key=lambda each: not excerpts[each].label):
        hand = _free(hands, excerpts, place, most)
        if hand is None:
            hands.append([place])
        else:
            hand.append(place)
    for hand in hands:
        draw.shuffle(hand)
    return hands


def _free(hands: Sequence[list[int]], excerpts: Sequence[Excerpt], place: int, most: int) -> list[int] | None:
    """Return the call with the fewest of the excerpt's kind, then the smallest, that may show it, too."""
    own = excerpts[place]

    def load(hand: list[int]) -> tuple[int, int]:
        return sum(excerpts[other].label == own.label for other in hand), len(hand)

    free = [
        hand
        for hand in hands
        if len(hand) < most and all(_stretch(excerpts[other]) != _stretch(own) for other in hand)
    ]
    return min(free, key=load, default=None)


def _stretch(excerpt: Excerpt) -> tuple[int, int, int]:
    """Return which text an excerpt is, whatever is marked in it."""
    return excerpt.sequence_id, excerpt.start, excerpt.stop
