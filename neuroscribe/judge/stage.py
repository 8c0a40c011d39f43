"""Judges every explanation of a layer on excerpts its explainer never saw, and on a control's."""

from collections.abc import Callable, Sequence
from typing import Any

import polars as pl

from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.judge.dealt import Call, calls, per_call
from neuroscribe.judge.judges import Judge, Judgement, gives_first_tokens
from neuroscribe.judge.judging import Judging
from neuroscribe.judge.questions import Question, questions
from neuroscribe.judge.together import AskedTogether
from neuroscribe.llm.calls import worked_through
from neuroscribe.llm.capabilities import samples
from neuroscribe.ports.models import LLM
from neuroscribe.ports.sources import EncoderSource, LLMSource, Models
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.sections import LLM_NEEDS
from neuroscribe.study.spec import Study
from neuroscribe.tables.judged import JUDGEMENTS


async def judged_layer(
    evidence: LayerEvidence, *, llm: LLMSource, encoders: EncoderSource, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the JUDGEMENTS of one layer's explanations by every judging scorer of the study.

    A model that gives no log-probabilities of its first token is asked for plain answers. Raises LLMError,
    before anything is spent, for one that does not answer at all.
    """
    study = evidence.study
    model: LLM | None = None
    by_first_token = False
    if any(spec.needs in LLM_NEEDS for spec in study.judging.values()):
        model = llm.open(study.simulating_llm, progress=progress, beside=study.llm)
        await model.check(samples(study.judging.values(), study.corpus.sequence_length))
        one_a_call = any(per_call(study, name) == 1 for name in study.judging)
        by_first_token = one_a_call and await gives_first_tokens(model)
    models = Models(model, encoders, calls, progress)
    rows: list[dict[str, Any]] = []
    for name, spec in study.judging.items():
        assert isinstance(spec, Judging), "every kind of judge derives from Judging"
        judge = spec.judge(models, by_first_token=by_first_token)
        asked = questions(evidence, name, spec.near(encoders, progress))
        rows += await judged(study, name, asked, judge, progress)
    return JUDGEMENTS.frame(rows)


async def judged(
    study: Study, name: str, asked: Sequence[Question], judge: Judge | AskedTogether, progress: Progress
) -> list[dict[str, Any]]:
    """Return the rows of JUDGEMENTS that answer some questions."""
    with progress.task(f"judge {study.name} by {name}", total=len(asked), unit="excerpts") as advance:
        if isinstance(judge, AskedTogether):
            answers = await _together(calls(study, name, asked), judge, advance)
        else:
            answers = await _apart(asked, judge, advance)
    pairs = zip(asked, answers, strict=True)
    return [_row(question, answer, name, judge.identity) for question, answer in pairs]


async def _apart(asked: Sequence[Question], judge: Judge, advance: Callable[..., None]) -> list[Judgement]:
    async def ask(question: Question) -> Judgement:
        judgement = await judge.judgement(question.text, question.tokens, question.marked)
        advance(1)
        return judgement

    return await worked_through(asked, ask, at_once=judge.calls_at_once)


async def _together(
    asked: Sequence[Call], judge: AskedTogether, advance: Callable[..., None]
) -> list[Judgement]:
    """Return the judgements of all calls, in the order in which their questions were given."""

    async def ask(call: Call) -> list[Judgement]:
        judgements = await judge.judgements(call.text, call.shown)
        advance(len(judgements))
        return judgements

    answers = await worked_through(asked, ask, at_once=judge.calls_at_once)
    pairs = ((call.places, said) for call, said in zip(asked, answers, strict=True))
    found = [pair for places, said in pairs for pair in zip(places, said, strict=True)]
    return [judgement for _, judgement in sorted(found, key=lambda pair: pair[0])]


def _row(question: Question, judgement: Judgement, name: str, identity: str) -> dict[str, Any]:
    shown = question.excerpt
    return {
        "explanation_id": question.explanation_id,
        "neuron": question.neuron[0],
        "polarity": question.neuron[1],
        "scorer": name,
        "sequence_id": shown.sequence_id,
        "split": question.split,
        "item": shown.item,
        "start": shown.start,
        "stop": shown.stop,
        "marked": list(shown.marked),
        "kind": shown.kind,
        "label": shown.label,
        "probability": judgement.probability,
        "answer": judgement.answer,
        "status": judgement.status,
        **judgement.usage.columns(),
        "model": identity,
    }
