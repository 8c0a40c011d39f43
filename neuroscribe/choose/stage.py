"""Has a judge choose among the options of every question about a layer."""

from collections.abc import Sequence
from typing import Any

import polars as pl

from neuroscribe.choose.choosing import choosing, questions
from neuroscribe.choose.judges import Choice, Chooser
from neuroscribe.choose.trials import Trial
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.llm.calls import worked_through
from neuroscribe.llm.capabilities import samples
from neuroscribe.ports.models import LLM
from neuroscribe.ports.sources import EncoderSource, LLMSource, Models
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.study.sections import LLM_NEEDS
from neuroscribe.study.spec import Study
from neuroscribe.tables.choices import CHOICES


async def chosen_layer(
    evidence: LayerEvidence, *, llm: LLMSource, encoders: EncoderSource, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the CHOICES of one layer by every choosing scorer of the study.

    Raises LLMError, before anything is spent, for a model that does not answer; a model or an encoder is
    opened only where one chooses.
    """
    study = evidence.study
    model: LLM | None = None
    if any(spec.needs in LLM_NEEDS for spec in study.choosing.values()):
        model = llm.open(study.simulating_llm, progress=progress, beside=study.llm)
        await model.check(samples(study.choosing.values(), study.corpus.sequence_length))
    encoder = None
    if any(spec.uses_encoder for spec in study.choosing.values()):
        encoder = encoders.open(study.encoders[0], progress=progress)
    models = Models(model, encoders, calls, progress)
    rows: list[dict[str, Any]] = []
    for name in study.choosing:
        chooser = choosing(evidence, name).chooser(models, encoder)
        rows += await chosen(study, name, questions(evidence, name), chooser, progress)
    return CHOICES.frame(rows)


async def chosen(
    study: Study, name: str, asked: Sequence[Trial], chooser: Chooser, progress: Progress
) -> list[dict[str, Any]]:
    """Return the rows of CHOICES that answer some questions."""
    with progress.task(f"choose {study.name} by {name}", total=len(asked), unit="questions") as advance:

        async def ask(trial: Trial) -> Choice:
            choice = await chooser.choice(trial)
            advance(1)
            return choice

        answers = await worked_through(asked, ask, at_once=chooser.calls_at_once)
    pairs = zip(asked, answers, strict=True)
    return [_row(trial, choice, name, chooser.identity) for trial, choice in pairs]


def _row(trial: Trial, choice: Choice, name: str, identity: str) -> dict[str, Any]:
    return {
        "scorer": name,
        "explanation_id": trial.explanation_id,
        "neuron": trial.neuron[0],
        "polarity": trial.neuron[1],
        "split": trial.split,
        "trial": trial.number,
        "options": [option.name for option in trial.options],
        "right": trial.right,
        "chosen": choice.chosen,
        "status": choice.status,
        **choice.usage.columns(),
        "model": identity,
    }
