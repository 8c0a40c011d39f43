"""Asks the questions of one explainer, each once, and several together where the model is quicker so.

And reads what is answered.
"""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from itertools import groupby

from neuroscribe.explain.explainer import Asking
from neuroscribe.explain.parsing import ParsedAnswer, parsed_answer, repeats, same_words
from neuroscribe.explain.questions import Question
from neuroscribe.llm.calls import Once, answer_form, worked_through
from neuroscribe.ports.models import LLM, BatchingLLM
from neuroscribe.ports.replies import Reply
from neuroscribe.text.escaping import storable

_REPLY = answer_form(Reply)
Told = Callable[[Reply], None]
"""Called with each answer as it comes."""


async def answers(asked: Sequence[Question], llm: LLM, once: Once, told: Told) -> list[Reply]:
    """Return the answers of a model in the order of the questions, all of which have messages.

    A model that answers several prompts in less time together is asked so; each answer is stored by itself,
    and what shares a batch with a question changes numbers by rounding alone.
    """
    if isinstance(llm, BatchingLLM) and llm.replies_at_once > 1:
        made = [await _together(batch, llm, once, told) for batch in _batches(asked, llm.replies_at_once)]
        by_question = {id(question): reply for batch in made for question, reply in batch}
        return [by_question[id(question)] for question in asked]

    async def ask(question: Question) -> Reply:
        reply = await once.answer(
            question.key(llm.identity), _alone(question, llm), _REPLY, prompt=question.shown.messages
        )
        told(reply)
        return reply

    return await worked_through(asked, ask, at_once=llm.calls_at_once)


def parsed_reply(reply: Reply, question: Question) -> ParsedAnswer | None:
    """Return what an answer says; there is none to a call that failed or was refused.

    One that repeats the text that it has to be unlike says nothing.
    """
    spec = question.spec
    if reply.status not in ("ok", "truncated") or not isinstance(spec, Asking):
        return None
    words, cut = spec.words, reply.status == "truncated"
    said = parsed_answer(
        storable(reply.text or ""),
        form=spec.answer,
        prefix=words.prefix,
        no_theme=words.parts.get("no_theme", ""),
        cut=cut,
    )
    return repeats(said) if said.text and same_words(said.text, question.shown.unlike) else said


def _alone(question: Question, llm: LLM) -> Callable[[], Awaitable[Reply]]:
    spec = _asking(question)

    async def ask() -> Reply:
        return await llm.reply(
            question.shown.messages,
            max_tokens=spec.answer_tokens,
            temperature=spec.temperature,
            seed=question.sample_index,
            schema=spec.answer_schema,
        )

    return ask


async def _together(
    batch: Sequence[Question], llm: BatchingLLM, once: Once, told: Told
) -> list[tuple[Question, Reply]]:
    """Ask a batch unless all of it is stored, and return its questions with their answers.

    A batch is asked whole, though some of it be stored: with other company an answer might be another one in
    its last bits, and a run that was killed would not end as one that was not.
    """
    keys = {question.key(llm.identity): question for question in batch}
    made: dict[str, Reply] = {}
    if not all(once.knows(key) for key in keys):
        spec = _asking(batch[0])
        replies = await llm.replies(
            [question.shown.messages for question in keys.values()],
            max_tokens=spec.answer_tokens,
            temperature=spec.temperature,
            seed=batch[0].sample_index,
            schema=spec.answer_schema,
        )
        made = dict(zip(keys, replies, strict=True))
    answered: list[tuple[Question, Reply]] = []
    for question in batch:
        key = question.key(llm.identity)

        async def ready(key: str = key) -> Reply:
            return made[key]

        reply = await once.answer(key, ready, _REPLY, prompt=question.shown.messages)
        told(reply)
        answered.append((question, reply))
    return answered


def _batches(asked: Sequence[Question], size: int) -> Iterator[list[Question]]:
    """Yield questions that are answered with one seed, so many at a time, in their order."""
    by_seed = sorted(asked, key=lambda question: question.sample_index)
    for _, alike in groupby(by_seed, key=lambda question: question.sample_index):
        questions = list(alike)
        for start in range(0, len(questions), size):
            yield questions[start : start + size]


def _asking(question: Question) -> Asking:
    assert isinstance(question.spec, Asking), "only such have questions"
    return question.spec
