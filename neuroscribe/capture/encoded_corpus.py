"""Every sequence as a sentence encoder sees it, made once: what simulators without an LLM read.

Vectors are kept in float16, which changes a cosine by less than .001: a sequence of 64 tokens takes about
50 kB with 384 features. No more than the table and one part of it are in memory.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import polars as pl

from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study
from neuroscribe.tables.encoded import ENCODED_CORPUS
from neuroscribe.text.corpus import TokenBytes
from neuroscribe.text.spans import text_and_spans, touching

_PART = 1024
"""Sequences that are put into the table together."""


def encoded_corpus(
    study: Study, tokens: TokenBytes, *, encoders: EncoderSource, progress: Progress
) -> pl.DataFrame:
    """Return ENCODED_CORPUS: every sequence of `tokens` by every encoder of the study."""
    parts, ids = [ENCODED_CORPUS.frame([])], list(tokens)
    for spec in study.distinct_encoders:
        encoder = encoders.open(spec, progress=progress)
        label = f"encode the text of {study.name}"
        with progress.task(label, total=len(ids), unit="sequences") as advance:
            for start in range(0, len(ids), _PART):
                parts.append(encoded(encoder, tokens, ids[start : start + _PART], advance))
    # Two specifications may name the same weights.
    return pl.concat(parts).unique(ENCODED_CORPUS.key, keep="first", maintain_order=True)


def encoded(
    encoder: TextEncoder,
    tokens: Mapping[int, Sequence[bytes]],
    sequences: Sequence[int],
    advance: Callable[[], None] = lambda: None,
) -> pl.DataFrame:
    """Return the rows of ENCODED_CORPUS of some sequences by one encoder; `advance` is called after each."""
    rows: list[dict[str, object]] = []
    for sequence in sequences:
        rows.append(_row(encoder, sequence, tokens[sequence]))
        advance()
    return ENCODED_CORPUS.frame(rows)


def _row(encoder: TextEncoder, sequence: int, tokens: Sequence[bytes]) -> dict[str, object]:
    text, spans = text_and_spans(tokens)
    pieces, vectors = encoder.pieces(text)
    first, last = touching(pieces, spans)
    return {
        "encoder": encoder.identity,
        "sequence_id": sequence,
        "first_piece": first.tolist(),
        "last_piece": last.tolist(),
        "features": vectors.shape[1],
        "vectors": vectors.astype(np.dtype("<f2")).tobytes(),
    }
