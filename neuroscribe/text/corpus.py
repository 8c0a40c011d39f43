"""Cuts documents into sequences: fixed-length windows of tokens that never cross a document.

Source: Bills et al. 2023, parameters: random contiguous 64-token windows of documents. Here a document is
cut into adjoining windows from a random offset, windows with the same tokens are folded into one, and the
order is shuffled, so that the running top-k meets its records early.
"""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
import torch
from jaxtyping import Int
from torch import Tensor

from neuroscribe.errors import CorpusError
from neuroscribe.study.spec import CorpusSpec
from neuroscribe.tables.records import SEQUENCES, VOCABULARY
from neuroscribe.text.token_bytes import TokenizerFacts, display


@dataclass(frozen=True)
class Document:
    """One text of a corpus."""

    source: str
    """Where it comes from, for people: a title, or a file and line."""
    text: str


@dataclass(frozen=True)
class Corpus:
    """The tokenised corpus and what was left out of it."""

    sequences: pl.DataFrame
    vocabulary: pl.DataFrame
    documents: int
    """Documents read."""
    too_short: int
    """Documents shorter than one sequence."""
    duplicates: int
    """Sequences left out because the same tokens were there already."""


def tokenised(documents: Iterable[Document], tokenizer: TokenizerFacts, spec: CorpusSpec) -> Corpus:
    """Cut documents into the study's sequences, in seeded order.

    Raises CorpusError when there is no text, no document fills one sequence, or fewer sequences result than
    the study asks for.
    """
    texts = list(documents)
    if not any(document.text.strip() for document in texts):
        raise CorpusError(f"the corpus ({_where(spec)}) holds no text; check its path and text_column")
    generator = random.Random(spec.seed)  # noqa: S311 - a seeded shuffle, not a secret
    cut = _cut(texts, tokenizer, spec.sequence_length, generator, enough=spec.sequences)
    _check_size(len(cut.windows), spec)
    windows = cut.windows[: spec.sequences]
    generator.shuffle(windows)
    return Corpus(
        _sequences(windows, texts, spec.seed), vocabulary(tokenizer), cut.read, cut.short, cut.duplicates
    )


def every_sequence(
    documents: Sequence[Document], tokenizer: TokenizerFacts, *, length: int, seed: int
) -> pl.DataFrame:
    """Return all different sequences of some documents, as SEQUENCES, in seeded order."""
    generator = random.Random(seed)  # noqa: S311 - a seeded shuffle, not a secret
    windows = _cut(documents, tokenizer, length, generator, enough=None).windows
    generator.shuffle(windows)
    return _sequences(windows, documents, seed)


def vocabulary(tokenizer: TokenizerFacts) -> pl.DataFrame:
    """Return the table of the tokenizer's tokens with their exact bytes."""
    return VOCABULARY.frame(
        {
            "token_id": list(range(len(tokenizer.token_bytes))),
            "bytes": list(tokenizer.token_bytes),
            "text": [display(token) for token in tokenizer.token_bytes],
        }
    )


def token_matrix(sequences: pl.DataFrame) -> Int[Tensor, "sequence token"]:
    """Return the token ids of all sequences, row i being sequence i."""
    lengths = sequences["token_ids"].list.len().unique()
    if len(lengths) != 1 or sequences["sequence_id"].to_list() != list(range(len(sequences))):
        raise CorpusError("corpus/sequences is damaged (ids or lengths); materialise the corpus again")
    flat = sequences["token_ids"].explode().to_numpy().astype(np.int64)
    return torch.from_numpy(flat.reshape(len(sequences), int(lengths[0])))  # pyright: ignore[reportUnknownMemberType]


class TokenBytes(Mapping[int, tuple[bytes, ...]]):
    """The tokens of every sequence as exact bytes, by sequence id; spelled where they are asked for."""

    def __init__(self, sequences: pl.DataFrame, vocabulary: pl.DataFrame) -> None:
        self._sequences, self._vocabulary = sequences, vocabulary
        self._spelled: dict[int, tuple[bytes, ...]] = {}

    @cached_property
    def ids(self) -> dict[int, list[int]]:
        """The token ids of each sequence, by sequence id."""
        columns = (self._sequences[name].to_list() for name in ("sequence_id", "token_ids"))
        return dict(zip(*columns, strict=True))

    @cached_property
    def of_token(self) -> list[bytes]:
        """The bytes of each token, by token id."""
        return self._vocabulary["bytes"].to_list()

    def __getitem__(self, sequence: int) -> tuple[bytes, ...]:
        if sequence not in self._spelled:
            self._spelled[sequence] = tuple(self.of_token[token] for token in self.ids[sequence])
        return self._spelled[sequence]

    def __iter__(self) -> Iterator[int]:
        return iter(self.ids)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass
class _Cut:
    """Windows of documents, by the document's place, and what was left out."""

    windows: list[tuple[int, tuple[int, ...]]]
    read: int = 0
    short: int = 0
    duplicates: int = 0


def _cut(
    texts: Sequence[Document],
    tokenizer: TokenizerFacts,
    length: int,
    generator: random.Random,
    *,
    enough: int | None,
) -> _Cut:
    """Cut documents in seeded order until there are enough windows, or to the last."""
    order = list(range(len(texts)))
    generator.shuffle(order)
    cut, seen = _Cut([]), set[tuple[int, ...]]()
    for index in order:
        if enough is not None and len(cut.windows) >= enough:
            break
        cut.read += 1
        windows = _windows(tokenizer.encode(texts[index].text), length, generator)
        cut.short += not windows
        fresh = [window for window in dict.fromkeys(windows) if window not in seen]
        cut.duplicates += len(windows) - len(fresh)
        seen.update(fresh)
        cut.windows += [(index, window) for window in fresh]
    return cut


def _windows(tokens: Sequence[int], length: int, generator: random.Random) -> list[tuple[int, ...]]:
    """Cut one document's tokens into adjoining windows from a random offset."""
    if len(tokens) < length:
        return []
    offset = generator.randrange(len(tokens) % length + 1)
    return [tuple(tokens[i : i + length]) for i in range(offset, len(tokens) - length + 1, length)]


def _check_size(sequences: int, spec: CorpusSpec) -> None:
    if not sequences:
        raise CorpusError(
            f"no document of the corpus ({_where(spec)}) has {spec.sequence_length} tokens; lower"
            " corpus.sequence_length or give longer texts"
        )
    if sequences < spec.sequences:
        raise CorpusError(
            f"the corpus ({_where(spec)}) gives {sequences} different sequences of {spec.sequence_length}"
            f" tokens, the study asks for {spec.sequences}; lower corpus.sequences or add text"
        )


def _where(spec: CorpusSpec) -> str:
    return f"files {spec.files}" if spec.files else f"artefact {spec.artefact}"


def _sequences(
    windows: Sequence[tuple[int, tuple[int, ...]]], texts: Sequence[Document], seed: int
) -> pl.DataFrame:
    held_out = _held_out({document for document, _ in windows}, seed)
    return SEQUENCES.frame(
        {
            "sequence_id": list(range(len(windows))),
            "document_id": [document for document, _ in windows],
            "source": [texts[document].source for document, _ in windows],
            "held_out": [document in held_out for document, _ in windows],
            "token_ids": [list(window) for _, window in windows],
        }
    )


def _held_out(documents: set[int], seed: int) -> frozenset[int]:
    """Return a seeded quarter of the documents."""
    generator = random.Random(f"held out {seed}")  # noqa: S311 - a seeded draw
    return frozenset(generator.sample(sorted(documents), len(documents) // 4))
