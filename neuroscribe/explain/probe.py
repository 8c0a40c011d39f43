"""Tries forms of asking on plain puzzles, and tells which of them a model understands best.

An answer is right if a sentence encoder holds it nearer to the true explanation than to any false one, by a
margin. The form with the most right answers is chosen; of several the one whose answers are further from the
false ones on average, then the first. Answers are stored like all others: a study probes a model once.
"""

from collections.abc import Callable, Iterator, Sequence
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
    alone = study.model_copy(update={"sample": study.sample.model_copy(update={"recognisable": 0})})
    evidence = PuzzleNeurons(plain_puzzles()).evidence(alone)
    shown = ((neuron, asking.shown(evidence, neuron, Before())) for neuron in evidence.neurons)
    return [Question(neuron, name, asking, each, form=form, is_puzzle=True) for neuron, each in shown]


def probe_questions(study: Study, name: str) -> Iterator[Question]:
    """Yield what an explainer asks of the plain puzzles before the first neuron; nothing, for most."""
    auto = study.explainers[name]
    if isinstance(auto, Auto) and len(auto.forms) > 1:
        for form in auto.forms:
            yield from puzzle_questions(study, name, form)


def on_puzzles(asking: Asking) -> Asking:
    """Return settings that suit texts of a few sentences, where most tokens occur once."""
    return asking.model_copy(update={"occurrences": 1}) if asking.reads_table else asking


async def chosen_form(
    study: Study, name: str, llm: LLM, encoder: TextEncoder, once: Once, progress: Progress
) -> str:
    """Return the form that the model does best with; a single one is taken as it is.

    Raises LLMError where calls fail: the next run asks those again.
    """
    auto = study.explainers[name]
    assert isinstance(auto, Auto), "only such try forms"
    if len(auto.forms) == 1:
        return auto.forms[0]
    total = len(auto.forms) * len(plain_puzzles())
    with progress.task(f"try forms of asking for {study.name}", total=total, unit="puzzles") as advance:
        tried = [
            await _tried(form, puzzle_questions(study, name, form), llm, encoder, once, advance)
            for form in auto.forms
        ]
        best = max(tried, key=lambda each: (each.solved, each.margin))
        advance(0, note=", ".join(f"{each.form} {each.solved}" for each in tried) + f": {best.form}")
    return best.form


async def _tried(
    form: str,
    asked: Sequence[Question],
    llm: LLM,
    encoder: TextEncoder,
    once: Once,
    advance: Callable[..., None],
) -> Tried:
    replies = await answers(asked, llm, once, lambda _: advance(1))
    if failed := [reply for reply in replies if reply.status == "failed"]:
        # What passes with time must not decide in which form all neurons are asked about.
        raise LLMError(
            f"{len(failed)} of {len(replies)} puzzles in the form {form} got no answer ({failed[0].raw});"
            " run again"
        )
    near: list[list[float]] = []
    for question, reply, puzzle in zip(asked, replies, plain_puzzles(), strict=True):
        said = parsed_reply(reply, question)
        text = said.text if said else None
        near.append(likeness(encoder, text, puzzle.candidates) if text else _NOTHING)
    return Tried(form, sum(map(is_solved, near)), fmean(map(margin, near)))
