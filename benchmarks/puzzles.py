"""Tries a study's LLM on neuron puzzles: whether it finds the explanation and scores the true one highest.

python -m benchmarks.puzzles DATA [--study NAME]

DATA is a JSON file of puzzles (neuroscribe/explain/puzzles.py), which names the figures. Answers are kept in
the store like those of a run, so that a second try asks nothing twice. An explanation counts as found when a
sentence encoder holds it nearer to the true one than to any false one, by puzzles.MARGIN; both are printed,
for people to judge.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl

from benchmarks.figures import Figure, figure, write
from benchmarks.puzzle_data import PuzzleLayer, is_first
from dagster_project.environments import Environment
from neuroscribe.errors import NeuroscribeError, StudyError
from neuroscribe.explain.logit_lens import LogitLens
from neuroscribe.explain.marking import Marking
from neuroscribe.explain.puzzles import POLARITY, is_solved, likeness, read_puzzles
from neuroscribe.explain.stage import explained
from neuroscribe.explain.token_detector import TokenDetector
from neuroscribe.kinds import read_studies
from neuroscribe.llm.capabilities import samples
from neuroscribe.ports.models import TextEncoder
from neuroscribe.simulate.stage import opened_simulators, simulated
from neuroscribe.study.files import chosen_study
from neuroscribe.study.kinds import ExplainerSpec
from neuroscribe.study.labels import LabelsSpec
from neuroscribe.study.scoring import ScoringSpec
from neuroscribe.study.sections import EncoderSpec
from neuroscribe.study.spec import Study
from neuroscribe.text.escaping import escaped

ENCODER = EncoderSpec(artefact="all-minilm-l6-v2")


@dataclass(frozen=True)
class Candidate:
    """One explanation of a puzzle."""

    neuron: int
    origin: Literal["true", "false", "found"]
    text: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the puzzles and write the figures; returns 0, or 1 after one message about what went wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.puzzles", description=__doc__)
    parser.add_argument("data", type=Path, help="JSON file of puzzles")
    parser.add_argument("--study", default="embedded", help="whose LLM, explainers and simulators are tried")
    options = parser.parse_args(arguments)
    try:
        layer = PuzzleLayer(read_puzzles(options.data))
        environment = Environment.read()
        study = puzzle_study(chosen_study(read_studies(environment.studies), options.study))
        name = f"puzzles.{options.data.stem}.{study.name}"
        figures = asyncio.run(tried(name, layer, study, environment.resources()))
    except NeuroscribeError as error:
        sys.stderr.write(f"\nerror: {_plain(str(error))}\n")
        return 1
    write(figures, part=name)
    return 0


def puzzle_study(study: Study) -> Study:
    """Return the study without what puzzles have no data for: weights of a subject, labels, several splits.

    Their texts are few, so that a token counts that occurs once, and nothing is left for near misses; there
    is no neuron beside them to draw, and nothing held out by which single tokens could predict one.
    """
    explainers = {
        name: spec.model_copy(update=_possible(spec))
        for name, spec in study.explainers.items()
        if _is_possible(spec)
    }
    if not explainers:
        raise StudyError(
            f"study {study.name}: puzzles have nothing for its explainers to show, which need weights,"
            " held-out text, labels or other explainers; add one that is shown exemplars or tokens"
        )
    scoring = ScoringSpec(stability_neurons=0)
    sample = study.sample.model_copy(update={"recognisable": 0})
    updated = {"explainers": explainers, "scorers": {}, "scoring": scoring, "sample": sample}
    return study.model_copy(update=updated)


def _is_possible(spec: ExplainerSpec) -> bool:
    """Tell whether an explainer needs only sentences and activations, and asks no other model than [llm]."""
    needs_more = isinstance(spec, LogitLens | TokenDetector | LabelsSpec) or bool(spec.builds_on)
    return spec.half == "input" and spec.asks == "llm" and not needs_more


def _possible(spec: ExplainerSpec) -> dict[str, int]:
    """Return the settings of an explainer that are others on puzzles."""
    if isinstance(spec, Marking):
        return {"near_misses": 0}
    return {"occurrences": 1} if spec.reads_table else {}


async def tried(name: str, layer: PuzzleLayer, study: Study, resources: dict[str, Any]) -> list[Figure]:
    """Return the figures of one study on the puzzles, named `name` and so on; print what was found."""
    shared = {"calls": resources["calls"], "progress": resources["progress"]}
    llm = None
    if study.explaining_needs:
        llm = resources["llm"].open(study.llm, progress=resources["progress"])
        await llm.check(samples(study.explainers.values(), study.corpus.sequence_length))
    simulators = await opened_simulators(
        study, llm=resources["llm"], encoders=resources["encoders"], **shared
    )
    evidence = layer.evidence(study)
    encoder = resources["encoders"].open(ENCODER, progress=resources["progress"])
    explanations = await explained(evidence, llm=llm, encoder=encoder, **shared)
    every = candidates(layer, explanations)
    neurons = {identity: candidate.neuron for identity, candidate in every.items()}
    wanted = layer.tasks({identity: (neuron, every[identity].text) for identity, neuron in neurons.items()})
    tasks = dict.fromkeys(study.simulators, wanted)
    simulations = await simulated(evidence, tasks, simulators=simulators, **shared)
    figures = list(solved(name, layer, study, explanations, encoder))
    for simulator in study.simulators:
        scores = layer.correlations(simulations.filter(pl.col("simulator") == simulator), neurons)
        figures += ranked(name, layer, study, simulator, every, scores)
    return figures


def candidates(layer: PuzzleLayer, explanations: pl.DataFrame) -> dict[str, Candidate]:
    """Return the true, the false and the found explanations of every puzzle, by id."""
    every: list[Candidate] = []
    for neuron, puzzle in enumerate(layer.puzzles):
        every.append(Candidate(neuron, "true", puzzle.explanation))
        every += [Candidate(neuron, "false", text) for text in puzzle.false_explanations]
    usable = explanations.filter(pl.col("status") == "ok")
    every += [Candidate(row["neuron"], "found", row["text"]) for row in usable.iter_rows(named=True)]
    return {str(place): candidate for place, candidate in enumerate(every)}


def solved(
    name: str, layer: PuzzleLayer, study: Study, explanations: pl.DataFrame, encoder: TextEncoder
) -> Iterator[Figure]:
    """Yield, for each explainer, the share of puzzles whose first candidate is nearest to the true text."""
    for explainer in study.explainers:
        right = 0
        for neuron, puzzle in enumerate(layer.puzzles):
            samples = explanations.filter(
                (pl.col("explainer") == explainer)
                & (pl.col("neuron") == neuron)
                & (pl.col("polarity") == POLARITY)
            ).sort("sample_index")
            text, status = samples["text"][0], samples["status"][0]
            near = likeness(encoder, text, puzzle.candidates) if text else [0.0, 0.0]
            right += is_solved(near)
            print(
                f"{_plain(puzzle.name):28} {explainer:14} {'solved' if is_solved(near) else 'missed'}"
                f" (cosine {near[0]:.2f}, false ones to {max(near[1:]):.2f}): {_plain(text or status)}"
            )
        yield _figure(study, f"{name}.solved.{explainer}", right / len(layer.puzzles), layer)


def ranked(
    name: str,
    layer: PuzzleLayer,
    study: Study,
    simulator: str,
    every: Mapping[str, Candidate],
    scores: Mapping[str, float | None],
) -> Iterator[Figure]:
    """Yield how often a simulator scores the true explanation highest, and what it scores on average."""
    firsts, true = 0, list[float | None]()
    for neuron, puzzle in enumerate(layer.puzzles):
        scored = {
            origin: [scores[i] for i, it in every.items() if (it.neuron, it.origin) == (neuron, origin)]
            for origin in ("true", "false", "found")
        }
        firsts += is_first([*scored["true"], *scored["false"]])
        true += scored["true"]
        shown = ", ".join(f"{origin} {' '.join(map(_shown, values))}" for origin, values in scored.items())
        print(f"{_plain(puzzle.name):28} {simulator:16} {shown}")
    # Without any, the simulator cannot read such texts: one that takes lists alone.
    if defined := [score for score in true if score is not None]:
        yield _figure(study, f"{name}.truth_first.{simulator}", firsts / len(layer.puzzles), layer)
        mean = sum(defined) / len(defined)
        unit = f"mean correlation of {len(defined)} true explanations"
        yield _figure(study, f"{name}.true_score.{simulator}", mean, layer, unit)


def _plain(text: str) -> str:
    """Return a text as a terminal may show it."""
    return escaped(text.encode(errors="replace"))


def _shown(score: float | None) -> str:
    return "none" if score is None else f"{score:.2f}"


def _figure(
    study: Study, name: str, value: float, layer: PuzzleLayer, unit: str = "of the puzzles"
) -> Figure:
    models = f", {study.llm.model}, simulating {study.simulating_llm.model}"
    return figure(name, [value], unit, n=len(layer.puzzles), detail=models)


if __name__ == "__main__":
    sys.exit(main())
