"""Describes the neurons of one layer: a row for each side that was explained, whatever became of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.describe.choice import Choice, Choosing, Row
from neuroscribe.describe.statuses import Standing
from neuroscribe.evidence.exemplars import Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.score.intruders import intruders
from neuroscribe.study.dues import CORPUS, dues, scorer_name
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.spec import Study
from neuroscribe.tables.choices import CHOICES
from neuroscribe.tables.descriptions import DESCRIPTIONS

STEERING = "steering"
"""The measure by which explanations of the output half are scored."""
_FOUND = ("ci_low", "ci_high", "ceiling", "control", "p")
_INTRUDER = ("intruder", "intruder_low", "intruder_high")


def described_layer(evidence: LayerEvidence) -> pl.DataFrame:
    """Return the DESCRIPTIONS of a layer; how often intruders were found is known where the study asks."""
    found = intruders(evidence.tables.get("choices", CHOICES.frame([])))
    layer = _Layer(evidence.study, evidence.tables["explanations"], evidence.tables["scores"], found)
    return DESCRIPTIONS.frame([layer.row(evidence.layer, side) for side in layer.sides])


class _Layer:
    """A layer's explanations by side, and what they scored."""

    def __init__(
        self, study: Study, explanations: pl.DataFrame, scores: pl.DataFrame, found: pl.DataFrame
    ) -> None:
        self._study = study
        self._scorer = scorer_name(study.describing.simulator)
        deciding = scores.filter(scorer=self._scorer, regime=CORPUS)
        valid = deciding.filter(split="valid").drop_nulls("value").select("explanation_id", "value").rows()
        self._choosing = Choosing(study.describing, study.explainers, dict(valid))
        self._tested = _by_id(deciding.filter(split="test"))
        self._steered = _by_id(_steered(study, scores))
        self._found = _by_side(found)
        self._rows: dict[Neuron, list[Row]] = {}
        for row in explanations.filter(draw=0).iter_rows(named=True):
            self._rows.setdefault((row["neuron"], row["polarity"]), []).append(row)

    @property
    def sides(self) -> list[Neuron]:
        """The sides, by neuron, the positive one first."""
        return sorted(self._rows, key=lambda side: (side[0], -side[1]))

    def row(self, layer: int, side: Neuron) -> dict[str, Any]:
        """Return the row of a side."""
        rows = self._rows[side]
        choice = self._choosing.choice(rows)
        found = {name: self._found.get(side, {}).get(name) for name in _INTRUDER}
        described = self._described(choice)
        standing = Standing(
            intruder_low=found["intruder_low"],
            guessed=self._found.get(side, {}).get("guessed"),
            **{name: described[name] for name in ("score", "ci_low", "ceiling", "control", "p")},
        )
        return {
            "layer": layer,
            "neuron": side[0],
            "polarity": side[1],
            "sample": rows[0]["sample"],
            "status": standing.status,
            **described,
            **self._beside("llm", choice.by_llm),
            **self._beside("free", choice.free),
            **self._output(rows),
            **found,
        }

    def _described(self, choice: Choice) -> dict[str, Any]:
        text: Row = choice.described or {}
        name = text.get("explanation_id")
        tested = self._tested.get(name, {})
        return {
            **{each: text.get(each) for each in ("explanation_id", "explainer", "text", "parts")},
            "by_llm": self._choosing.is_asked(text) if text else None,
            "why": choice.why,
            "scorer": self._scorer,
            "valid_score": self._choosing.valid_score(text) if text else None,
            "score": tested.get("value"),
            **{each: tested.get(each) for each in _FOUND},
            "n_controls": tested.get("n_controls", 0),
        }

    def _beside(self, sort: str, row: Row | None) -> dict[str, Any]:
        name = None if row is None else row["explanation_id"]
        text = None if row is None else row["text"]
        score = self._tested.get(name, {}).get("value")
        return {f"{sort}_explanation_id": name, f"{sort}_text": text, f"{sort}_score": score}

    def _output(self, rows: Sequence[Row]) -> dict[str, Any]:
        """Return the first text of the output half in the study's order, for nothing is chosen there."""
        names = [name for name, spec in self._study.explainers.items() if _describes_output(spec)]
        said = [row for row in rows if row["explainer"] in names and row["status"] == "ok"]
        said.sort(key=lambda row: (names.index(row["explainer"]), row["sample_index"]))
        first: Row = said[0] if said else {}
        steered = self._steered.get(first.get("explanation_id"), {})
        return {
            "output_explanation_id": first.get("explanation_id"),
            "output_text": first.get("text"),
            "output_score": steered.get("value"),
            "output_low": steered.get("ci_low"),
            "output_high": steered.get("ci_high"),
            "output_control": steered.get("control"),
        }


def _describes_output(spec: ExplainerSpec) -> bool:
    return spec.half == "output" and spec.describes


def _steered(study: Study, scores: pl.DataFrame) -> pl.DataFrame:
    """Return the scores of the output half by the study's first scorer of it."""
    scorers = [due.scorer for due in dues(study) if due.measure == STEERING][:1]
    return scores.filter(pl.col("scorer").is_in(scorers), split="test")


def _by_id(scores: pl.DataFrame) -> dict[Any, Mapping[str, Any]]:
    return {row["explanation_id"]: row for row in scores.iter_rows(named=True)}


def _by_side(frame: pl.DataFrame) -> dict[Neuron, Mapping[str, Any]]:
    return {(row["neuron"], row["polarity"]): row for row in frame.iter_rows(named=True)}
