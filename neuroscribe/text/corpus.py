"""The corpus of a study: documents as sequences of tokens in seeded order, and the tables that hold them.

Documents that are copies are folded (`documents.py`), the others are cut into windows (`windows.py`), and
the order of these is shuffled, so that the running top-k meets its records early.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl
from jaxtyping import Int

from neuroscribe.errors import CorpusError
from neuroscribe.study.spec import CorpusSpec
from neuroscribe.tables.records import SEQUENCES, VOCABULARY
from neuroscribe.text.documents import DifferentDocuments, Document, different, held_out
from neuroscribe.text.token_bytes import TokenizerFacts, display
from neuroscribe.text.windows import Cut, cut_in_turn

FEWEST_DOCUMENTS = 10
"""Of neurons with 20 top exemplars at random from 10 documents, 95 % have one in `test`; from 5, 70 %."""


@dataclass(frozen=True)
class Corpus:
    """The tokenised corpus and what was left out of it."""

    sequences: pl.DataFrame
    vocabulary: pl.DataFrame
    documents: int
    """Documents read."""
    copied_documents: int
    """Documents left out because the same text was there already."""
    tokenised: int
    """Documents looked into until there were enough sequences."""
    too_short: int
    """Those of them that are shorter than one sequence."""
    folded: int
    """Sequences left out because they share a run of tokens with one taken before."""


def tokenised(documents: Iterable[Document], tokenizer: TokenizerFacts, spec: CorpusSpec) -> Corpus:
    """Cut documents into the study's sequences, in seeded order.

    Sequences come from as many documents as there are: a second one of a document is taken only after one
    from every other. Raises CorpusError when there is no text, no document fills one sequence, or fewer
    sequences result than the study asks for.
    """
    texts = different(documents)
    if not any(document.text.strip() for document in texts.kept.values()):
        raise CorpusError(f"the corpus ({_where(spec)}) holds no text; check its path and text_column")
    cut, sequences = _cut(texts, tokenizer, spec.sequence_length, seed=spec.seed, enough=spec.sequences)
    _check_size(cut, texts, spec)
    return Corpus(
        sequences, vocabulary(tokenizer), texts.read, texts.copies, cut.tokenised, cut.short, cut.folded
    )


def check_documents(corpus: Corpus) -> None:
    """Raise CorpusError where the sequences are of too few documents to explain on some and score on others.

    A neuron's exemplars are parted by document, and explanations are scored on documents that the explainer
    has not seen: where there are hardly any, most neurons would have no score.
    """
    documents = corpus.sequences["document_id"].n_unique()
    if documents < FEWEST_DOCUMENTS:
        raise CorpusError(
            f"the {len(corpus.sequences)} sequences are of {documents} different documents; at least"
            f" {FEWEST_DOCUMENTS} are needed, as explanations are scored on documents that the explainer has"
            " not seen: give more documents, or cut long ones into files, lines or rows of their own"
        )


def every_sequence(
    documents: Iterable[Document], tokenizer: TokenizerFacts, *, length: int, seed: int
) -> pl.DataFrame:
    """Return all different sequences of some documents, as SEQUENCES, in seeded order."""
    _, sequences = _cut(different(documents), tokenizer, length, seed=seed, enough=None)
    return sequences


def vocabulary(tokenizer: TokenizerFacts) -> pl.DataFrame:
    """Return the table of the tokenizer's tokens with their exact bytes."""
    return VOCABULARY.frame(
        {
            "token_id": list(range(len(tokenizer.token_bytes))),
            "bytes": list(tokenizer.token_bytes),
            "text": [display(token) for token in tokenizer.token_bytes],
        }
    )


def token_matrix(sequences: pl.DataFrame) -> Int[np.ndarray, "sequence token"]:
    """Return the token ids of all sequences, row i being sequence i."""
    lengths = sequences["token_ids"].list.len().unique()
    if len(lengths) != 1 or sequences["sequence_id"].to_list() != list(range(len(sequences))):
        raise CorpusError("corpus/sequences is damaged (ids or lengths); materialise the corpus again")
    flat = sequences["token_ids"].explode().to_numpy().astype(np.int64)
    return flat.reshape(len(sequences), int(lengths[0]))


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


def _cut(
    texts: DifferentDocuments, tokenizer: TokenizerFacts, length: int, *, seed: int, enough: int | None
) -> tuple[Cut, pl.DataFrame]:
    """Return windows with what was left out, and the windows as SEQUENCES."""
    generator = random.Random(seed)  # noqa: S311 - a seeded shuffle, not a secret
    plain = {place: document.text for place, document in texts.kept.items()}
    cut = cut_in_turn(plain, tokenizer.encode, length, generator, enough=enough)
    generator.shuffle(cut.windows)
    return cut, _sequences(cut, texts, seed=seed)


def _sequences(cut: Cut, texts: DifferentDocuments, *, seed: int) -> pl.DataFrame:
    document_ids = [document for document, _ in cut.windows]
    apart = held_out(document_ids, seed=seed)
    return SEQUENCES.frame(
        {
            "sequence_id": list(range(len(cut.windows))),
            "document_id": document_ids,
            "source": [texts.kept[document].source for document in document_ids],
            "held_out": [document in apart for document in document_ids],
            "token_ids": [window.tolist() for _, window in cut.windows],
        }
    )


def _check_size(cut: Cut, texts: DifferentDocuments, spec: CorpusSpec) -> None:
    sequences = len(cut.windows)
    if not sequences:
        raise CorpusError(
            f"no document of the corpus ({_where(spec)}) has {spec.sequence_length} tokens; lower"
            " corpus.sequence_length or give longer texts"
        )
    if sequences < spec.sequences:
        raise CorpusError(
            f"the corpus ({_where(spec)}) gives {sequences} different sequences of {spec.sequence_length}"
            f" tokens, the study asks for {spec.sequences}; lower corpus.sequences or add text"
            f" ({texts.copies} documents are copies of others, {cut.folded} sequences repeat a passage)"
        )


def _where(spec: CorpusSpec) -> str:
    return f"files {spec.files}" if spec.files else f"artefact {spec.artefact}"
