"""Measures what every sampled neuron of a layer does to the next token."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import torch

from neuroscribe.effect.amplifier import Amplifier, Held
from neuroscribe.effect.measured import Effect, Measuring
from neuroscribe.errors import StudyError
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.fingerprint import fingerprint
from neuroscribe.llm.calls import Form, Once
from neuroscribe.ports.stores import CallStore, Progress
from neuroscribe.subject.predictions import place_of, weights_of
from neuroscribe.subject.subject import Subject
from neuroscribe.tables.effects import EFFECTS

_RESULTS = 1
"""Raise when the same neurons on the same openings give other effects than before."""
_EFFECTS: Form[list[Effect]] = Form(
    lambda effects: {"effects": [vars(effect) for effect in effects]},
    lambda stored: [_read(effect) for effect in stored["effects"]],
)


def _read(stored: dict[str, Any]) -> Effect:
    """Return a stored effect; JSON knows no pairs."""
    changed: Any = {
        name: [(int(n), float(x)) for n, x in stored[name]] for name in ("promoted", "suppressed")
    }
    return Effect(**{**stored, **changed})


async def layer_effects(
    evidence: LayerEvidence, *, subject: Subject, calls: CallStore, progress: Progress
) -> pl.DataFrame:
    """Return the EFFECTS of one layer's sampled neurons.

    Those of a few neurons, which share their passes, are stored together, so that a run that was killed loses
    one group. Raises SubjectError for a model without logits, StudyError for a corpus of one document.
    """
    study = evidence.study
    run = _Run.of(evidence, subject, Once(calls))
    groups = list(_groups(evidence, subject))
    rows: list[dict[str, Any]] = []
    label = f"amplify {study.name} layer {evidence.layer}"
    with progress.task(label, total=len(evidence.neurons), unit="neurons") as advance:
        for group in groups:
            for neuron, effect in zip(group, await run.effects(group), strict=True):
                rows += run.rows(neuron, effect)
            advance(len(group))
    return EFFECTS.frame(rows).sort(*EFFECTS.key)


def _groups(evidence: LayerEvidence, subject: Subject) -> Iterator[Sequence[Neuron]]:
    """Yield the sampled neurons, as many at a time as go into one pass."""
    spec, neurons = evidence.study.amplifying, evidence.neurons
    size = max(1, subject.batch(spec.prompt_tokens + spec.tokens) // spec.prompts)
    for start in range(0, len(neurons), size):
        yield neurons[start : start + size]


def openings(evidence: LayerEvidence) -> tuple[list[int], list[int]]:
    """Return two drawn halves of sequences, no two of one document: to be read, and to be gone on from.

    They are the same for all layers. Raises StudyError for a corpus of one document.
    """
    spec = evidence.study.amplifying
    first = evidence.tables["corpus/sequences"].unique("document_id", keep="first", maintain_order=True)
    ids: list[int] = first["sequence_id"].to_list()
    count = min(spec.prompts, len(ids) // 2)
    if not count:
        raise StudyError(
            f"study {evidence.study.name}: the corpus has {len(ids)} document, and what neurons do is tried"
            " on openings of two or more; give it more text, or take out explainers and scorers of the output"
            " half"
        )
    drawn = random.Random(f"openings {spec.seed}").sample(ids, 2 * count)  # noqa: S311 - a seeded draw
    return drawn[:count], drawn[count:]


@dataclass(frozen=True)
class _Run:
    """One layer's measuring, and what is asked once alone."""

    evidence: LayerEvidence
    subject: Subject
    measuring: Measuring
    continued: list[int]
    plain: list[list[int]]
    """What the subject says when it is left alone, by opening."""
    once: Once
    key: str

    @classmethod
    def of(cls, evidence: LayerEvidence, subject: Subject, once: Once) -> "_Run":
        study = evidence.study
        site = subject.sites([evidence.layer])[evidence.layer]
        halves = openings(evidence)
        ids = evidence.tokens.ids
        texts = [[list(ids[n][: study.amplifying.prompt_tokens]) for n in half] for half in halves]
        read, continued = (torch.tensor(half) for half in texts)
        measuring = Measuring.of(Amplifier(subject, site), study.amplifying, read, continued)
        place = place_of(site, study.subject)
        settings = study.amplifying.model_dump()
        key = fingerprint("effects", _RESULTS, weights_of(subject), place, texts, settings)
        return cls(evidence, subject, measuring, halves[1], measuring.said([None])[0], once, key)

    async def effects(self, group: Sequence[Neuron]) -> list[Effect]:
        """Return what some neurons do."""
        largest = [Held(neuron[0], self._largest(neuron)) for neuron in group]

        async def measure() -> list[Effect]:
            return self.measuring.effects(largest)

        key = fingerprint(self.key, [[held.neuron, held.activation] for held in largest])
        return await self.once.answer(key, measure, _EFFECTS)

    def _largest(self, neuron: Neuron) -> float:
        """Return a neuron's largest activation on a side, with its sign."""
        statistics = self.evidence.tables["activations/statistics"]
        row = statistics.row(by_predicate=pl.col("neuron") == neuron[0], named=True)
        return row["max"] if neuron[1] > 0 else row["min"]

    def rows(self, neuron: Neuron, effect: Effect) -> Iterator[dict[str, Any]]:
        """Yield the rows of one side of a neuron."""
        shared = {
            "layer": self.evidence.layer,
            "neuron": neuron[0],
            "polarity": neuron[1],
            "amplified": effect.amplified,
            "divergence": effect.divergence,
        }
        for kind, changed in (("promoted", effect.promoted), ("suppressed", effect.suppressed)):
            for rank, (token, change) in enumerate(changed):
                yield _row(**shared, kind=kind, rank=rank, token_id=token, change=change)
        said = zip(self.continued, effect.continuations, self.plain, strict=True)
        for rank, (sequence, tokens, plain) in enumerate(said):
            own = {"sequence_id": sequence, "token_ids": tokens, "plain_token_ids": plain}
            yield _row(**shared, kind="continuation", rank=rank, **own)


def _row(**given: Any) -> dict[str, Any]:
    return {name: given.get(name) for name in EFFECTS.schema}
