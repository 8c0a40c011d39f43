"""Tries forms of asking on plain puzzles, and tells which of them a model understands best.

An answer is right if a sentence encoder holds it nearer to the true explanation than to any false one, by a
margin. The form with the most right answers is chosen; of several the one whose answers are further from the
false ones on average, then the first. Answers are stored like all others: a study probes a model once.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

from neuroscribe.errors import LLMError
from neuroscribe.explain.asking import answers, parsed_reply
from neuroscribe.explain.auto import Auto
from neuroscribe.explain.explainer import Asking, Before
from neuroscribe.explain.puzzles import PuzzleNeurons, is_solved, likeness, margin, plain_puzzles
from neuroscribe.explain.questions import Question
from neuroscribe.llm.calls import Once
from neuroscribe.ports.models import LLM, TextEncoder
from neuroscribe.ports.replies import Reply
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study

_NOTHING = [-1.0, 0.0]
"""Likenesses of an answer without a text: worse than a wrong one."""


@dataclass(frozen=True)
class Tried:
    """How a form has done on the puzzles."""

    form: str
    solved: int
    margin: float
    """Mean over the puzzles of the cosine with the true text less the largest with a false one."""


def puzzle_questions(study: Study, name: str, form: str) -> list[Question]:
    """Return what the explainer `name` asks about the plain puzzles in one of its forms."""
    auto = study.explainers[name]
    assert isinstance(auto, Auto), "only such try forms"
    asking = on_puzzles(auto.asking(form))
    # Puzzles have no neighbours among which recognisable neurons could be drawn.
    alone = study.model_copy(update={"sample": study.sample.model_copy(update={"recognisable": 0})})
    evidence = PuzzleNeurons(plain_puzzles()).evidence(alone)
    shown = ((neuron, asking.shown(evidence, neuron, Before())) for neuron in evidence.neurons)
    return [Question(neuron, name, asking, each, form=form, is_puzzle=True) for neuron, each in shown]


def probe_questions(study: Study, name: str) -> Iterator[Question]:
    """Yield what an explainer asks of the plain puzzles before the first neuron; nothing, for most."""
    auto = study.explainers[name]
    if isinstance(auto, Auto) and auto.is_tried:
        for form in auto.forms:
            yield from puzzle_questions(study, name, form)


def on_puzzles(asking: Asking) -> Asking:
    """Return settings that suit texts of a few sentences, where most tokens occur once."""
    return asking.model_copy(update={"occurrences": 1}) if asking.reads_table else asking


async def chosen_form(
    study: Study, name: str, llm: LLM, encoder: TextEncoder, once: Once, progress: Progress
) -> str:
    """Return the form that the model does best with.

    Raises LLMError where calls fail (the next run asks those again), and where no answer can be read.
    """
    asked = list(probe_questions(study, name))
    with progress.task(f"try forms of asking for {study.name}", total=len(asked), unit="puzzles") as advance:
        replies = await answers(asked, llm, once, lambda _: advance(1))
        _check_answered(study, replies)
        read = list(zip(asked, replies, strict=True))
        _check_readable(study, read)
        tried = [
            _tried(form, [pair for pair in read if pair[0].form == form], encoder)
            for form in dict.fromkeys(question.form for question in asked)
        ]
        best = best_of(tried)
        advance(0, note=", ".join(f"{each.form} {each.solved}" for each in tried) + f": {best.form}")
    return best.form


def best_of(tried: Sequence[Tried]) -> Tried:
    """Return what solved most; of several what is furthest from the false texts, then the first."""
    return max(tried, key=lambda each: (each.solved, each.margin))


def _check_answered(study: Study, replies: Sequence[Reply]) -> None:
    # What passes with time must not decide in which form all neurons are asked about.
    if failed := [reply for reply in replies if reply.status == "failed"]:
        raise LLMError(
            f"study {study.name}: {len(failed)} of {len(replies)} puzzles by which a form of asking is chosen"
            f" got no answer ({failed[0].raw}); run again"
        )


def _check_readable(study: Study, read: Sequence[tuple[Question, Reply]]) -> None:
    statuses = [_status(question, reply) for question, reply in read]
    if "ok" not in statuses:
        ((commonest, count),) = Counter(statuses).most_common(1)
        raise LLMError(
            f"study {study.name}: in no form of asking did {study.llm.model} explain one of the plain puzzles"
            f" ({count} of {len(read)} answers {commonest}); give [explainers.auto] a larger max_tokens if it"
            ' thinks before it answers (in place of explainers = "auto"), or name another model'
        )


def _status(question: Question, reply: Reply) -> str:
    said = parsed_reply(reply, question)
    return said.status if said else reply.status


def _tried(form: str, read: Sequence[tuple[Question, Reply]], encoder: TextEncoder) -> Tried:
    near: list[list[float]] = []
    for (question, reply), puzzle in zip(read, plain_puzzles(), strict=True):
        said = parsed_reply(reply, question)
        near.append(likeness(encoder, said.text, puzzle.candidates) if said and said.text else _NOTHING)
    return Tried(form, sum(map(is_solved, near)), fmean(map(margin, near)))
