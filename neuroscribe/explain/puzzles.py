"""Neuron puzzles: made-up neurons with a known explanation, as evidence that explainers take.

A puzzle holds one true explanation, some false ones that come near it, and sentences with activations on
the 0..10 scale. An explainer is to find the true one (Bills et al. 2023, "Neuron puzzles"). Nothing is held
out: the true and the false explanations were written by people, and a found one is held against the true
one by its meaning.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from neuroscribe.errors import PuzzleError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.ports.models import TextEncoder
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import CONNECTIONS, NEURON_RECORDS, SEQUENCES, TOKEN_LOOKUP, VOCABULARY
from neuroscribe.text.token_bytes import display

LAYER = 0
POLARITY = 1
MARGIN = 0.1
"""By how much a found explanation is nearer to the true one than to any false one, to count as found.

A phrase that is about nothing in particular is nearly as near to each of them.
"""
PLAIN = "plain_puzzles"
"""The data file of twelve puzzles that come along."""


class Sentence(BaseModel):
    """One text of a puzzle."""

    model_config = ConfigDict(frozen=True)

    tokens: tuple[str, ...] = Field(min_length=1)
    activations: tuple[Annotated[float, Field(ge=0, le=10)], ...]

    @model_validator(mode="after")
    def one_activation_per_token(self) -> "Sentence":
        """Require an activation for every token."""
        if len(self.tokens) != len(self.activations):
            raise ValueError(f"{len(self.tokens)} tokens and {len(self.activations)} activations")
        return self


class Puzzle(BaseModel):
    """A neuron whose explanation is known."""

    model_config = ConfigDict(frozen=True)

    name: str
    explanation: str
    false_explanations: tuple[str, ...] = Field(min_length=1)
    activation_records: tuple[Sentence, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def fires(self) -> "Puzzle":
        """Require a token that fires: else there is nothing to explain."""
        if not any(any(sentence.activations) for sentence in self.activation_records):
            raise ValueError("no token has an activation above 0")
        return self

    @property
    def candidates(self) -> tuple[str, ...]:
        """The true explanation, then the false ones."""
        return (self.explanation, *self.false_explanations)


def plain_puzzles_text() -> str:
    """Return the packaged puzzles as they stand; part of the fingerprint of what is chosen by them."""
    return files("neuroscribe.explain").joinpath(f"{PLAIN}.json").read_text(encoding="utf-8")


@cache
def plain_puzzles() -> tuple[Puzzle, ...]:
    """Return the packaged puzzles."""
    return TypeAdapter(tuple[Puzzle, ...]).validate_json(plain_puzzles_text())


def read_puzzles(path: Path) -> tuple[Puzzle, ...]:
    """Read a JSON list of puzzles; raises PuzzleError naming the file, what is wrong and where."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        puzzles = TypeAdapter(tuple[Puzzle, ...]).validate_python(data)
    except OSError as error:
        raise PuzzleError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PuzzleError(f"{path}: at {place or 'the top'}: {first['msg']}; correct the file") from error
    except ValueError as error:
        raise PuzzleError(f"{path}: not valid JSON ({error}); correct the file") from error
    if not puzzles:
        raise PuzzleError(f"{path}: holds no puzzle")
    return puzzles


class PuzzleNeurons:
    """Puzzles as the neurons of one layer, in their order."""

    def __init__(self, puzzles: Sequence[Puzzle]) -> None:
        self.puzzles = puzzles
        places = [
            (neuron, place)
            for neuron, puzzle in enumerate(puzzles)
            for place in range(len(puzzle.activation_records))
        ]
        self._ids = {place: sequence for sequence, place in enumerate(places)}

    def evidence(self, study: Study) -> LayerEvidence:
        """Return what explainers may see: all sentences, and the mean activation of each token in them."""
        sentences = {sequence: self._sentence(*place).tokens for place, sequence in self._ids.items()}
        ids = {token: place for place, token in enumerate(dict.fromkeys(chain(*sentences.values())))}
        tables = {
            "corpus/sequences": SEQUENCES.frame(
                [
                    {
                        "sequence_id": sequence,
                        "document_id": sequence,
                        "source": "puzzles",
                        "held_out": False,
                        "token_ids": [ids[token] for token in tokens],
                    }
                    for sequence, tokens in sentences.items()
                ]
            ),
            "corpus/vocabulary": VOCABULARY.frame(
                [
                    {"token_id": place, "bytes": token.encode(), "text": display(token.encode())}
                    for token, place in ids.items()
                ]
            ),
            "neuron_records": self._records(),
            "token_lookup": self._lookup(ids),
            "connections": CONNECTIONS.frame([]),
        }
        neurons = [(neuron, POLARITY) for neuron in range(len(self.puzzles))]
        return LayerEvidence(study, LAYER, tables, neurons=neurons)

    def sequences(self, neuron: int) -> tuple[int, ...]:
        """Return the sentences of a puzzle, by their place among all."""
        return tuple(sequence for (own, _), sequence in self._ids.items() if own == neuron)

    def _sentence(self, neuron: int, place: int) -> Sentence:
        return self.puzzles[neuron].activation_records[place]

    def _records(self) -> pl.DataFrame:
        rows: list[dict[str, Any]] = []
        for neuron in range(len(self.puzzles)):
            ids = self.sequences(neuron)
            values = [self._sentence(neuron, place).activations for place in range(len(ids))]
            for rank, place in enumerate(sorted(range(len(ids)), key=lambda place: -max(values[place]))):
                peak = max(values[place])
                rows.append(
                    {**_of(neuron), "kind": "top", "split": "train", "rank": rank}
                    | dict.fromkeys(("quantile_low", "quantile_high"))
                    | {"sequence_id": ids[place], "activations": list(values[place])}
                    | {"peak": peak, "peak_position": values[place].index(peak)}
                )
        return NEURON_RECORDS.frame(rows)

    def _lookup(self, ids: Mapping[str, int]) -> pl.DataFrame:
        rows: list[dict[str, Any]] = []
        for neuron, puzzle in enumerate(self.puzzles):
            values: dict[int, list[float]] = {}
            for sentence in puzzle.activation_records:
                for token, value in zip(sentence.tokens, sentence.activations, strict=True):
                    values.setdefault(ids[token], []).append(value)
            for token, seen in values.items():
                means = dict.fromkeys(("mean", "shrunken_mean"), float(np.mean(seen)))
                rows.append({**_of(neuron), "token_id": token, "count": len(seen), **means})
        return TOKEN_LOOKUP.frame(rows)


def _of(neuron: int) -> dict[str, Any]:
    return {"layer": LAYER, "neuron": neuron, "polarity": POLARITY}


def is_solved(likenesses: Sequence[float]) -> bool:
    """Tell whether a text is nearest to the first of the candidates, by a margin."""
    return margin(likenesses) >= MARGIN


def margin(likenesses: Sequence[float]) -> float:
    """Return by how much a text is nearer to the first of the candidates than to any other."""
    return likenesses[0] - max(likenesses[1:])


def likeness(encoder: TextEncoder, text: str, candidates: Iterable[str]) -> list[float]:
    """Return the cosine of a text's sentence vector with that of each candidate."""
    own = encoder.sentence(text)
    return [float(own @ encoder.sentence(other)) for other in candidates]
