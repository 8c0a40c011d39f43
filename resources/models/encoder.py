"""A sentence encoder on the CPU: one vector for a text, and one in context for each piece of it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
from jaxtyping import Float
from pydantic import Field

from neuroscribe.errors import ArtefactError, SubjectError
from neuroscribe.ports.stores import Progress
from neuroscribe.study.sections import EncoderSpec, ModelSpec
from resources.models.artefacts import Artefacts
from resources.models.weights import Warm, filled, load_tokenizer, located, revision_of

SENTENCE_PIECES = 256
"""Pieces of a text that count for its sentence vector, as in the published model's sentence_bert_config."""


_INPUTS = ("input_ids", "attention_mask")
"""What every encoder takes; kinds of segments, which some have, are zero unless given."""


class MiniLM:
    """A BERT-like encoder with mean pooling, such as all-MiniLM-L6-v2; fulfils the port TextEncoder.

    Source: Reimers and Gurevych 2019, Sentence-BERT (mean of the last hidden states, unit length).
    """

    def __init__(self, model: Any, tokenizer: Any, *, identity: str):
        self._model = model
        self._tokenizer = tokenizer
        self.identity = identity
        """Model name and revision."""
        self._limit = min(model.config.max_position_embeddings, tokenizer.model_max_length)

    def sentence(self, text: str) -> Float[np.ndarray, " feature"]:
        """Return one unit-length vector: the mean over the text's first 256 pieces, specials included."""
        limit = min(SENTENCE_PIECES, self._limit)
        encoded = self._tokenizer(text, truncation=True, max_length=limit, return_tensors="pt")
        inputs = {name: encoded[name] for name in _INPUTS}
        return _unit(self._states(inputs)[0].mean(axis=0))

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], Float[np.ndarray, "piece feature"]]:
        """Return the character span and the unit-length vector in context of each piece of a text.

        A text beyond the model's limit is read in adjoining windows; a piece sees its own window.
        """
        import torch

        windows = self._tokenizer(
            text,
            truncation=True,
            max_length=self._limit,
            padding=self._tokenizer.pad_token_id is not None,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
            return_special_tokens_mask=True,
        )
        is_text = _padded(windows["special_tokens_mask"], 1) == 0
        spans = _padded(windows["offset_mapping"], (0, 0))[is_text]
        # The attention mask hides padding, so any id serves a tokenizer that has none for it.
        inputs = {name: torch.from_numpy(_padded(windows[name], 0)) for name in _INPUTS}
        return [(int(start), int(end)) for start, end in spans], _unit(self._states(inputs)[is_text])

    def _states(self, inputs: dict[str, Any]) -> Float[np.ndarray, "window piece feature"]:
        """Return the last hidden state of every piece, padding included."""
        import torch

        rows = self._model.get_input_embeddings().num_embeddings
        largest = int(inputs["input_ids"].max()) if inputs["input_ids"].numel() else 0
        if largest >= rows:
            raise ArtefactError(
                f"{self.identity}: its tokenizer gives a text token {largest}, but its embedding has rows 0"
                f" to {rows - 1}; give a model with its own tokenizer"
            )
        with torch.inference_mode(), _one_thread():
            return self._model(**inputs).last_hidden_state.numpy()


class TextEncoders(dg.ConfigurableResource):
    """Opens the sentence encoders that studies name."""

    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of fetched models")
    hub: bool = Field(default=True, description="whether a model hub may be asked")

    def open(self, spec: EncoderSpec, *, progress: Progress | None = None) -> MiniLM:
        """Return the encoder; it stays loaded for the next run in this process.

        Raises ArtefactError when it cannot be had.
        """
        wanted = ModelSpec(model=spec.model, revision=spec.revision, artefact=spec.artefact, dtype="float32")
        artefacts = Artefacts(Path(self.cache_dir), hub=self.hub, progress=progress)
        return _ENCODER.opened((wanted, self.cache_dir), lambda: load_encoder(wanted, artefacts=artefacts))


_ENCODER: Warm[MiniLM] = Warm()


def load_encoder(spec: ModelSpec, *, artefacts: Artefacts) -> MiniLM:
    """Return an encoder from an artefact, a folder or the hub; raises ArtefactError if none is whole."""
    import torch
    from transformers import AutoModel

    try:
        location = located(spec, artefacts=artefacts)
        tokenizer = load_tokenizer(spec, artefacts=artefacts)
        with location.explained(spec.model, "sentence encoder"):
            # Mean pooling does not need the pooler.
            model = filled(AutoModel, spec, location, torch.float32, spare="pooler").eval()
        revision = revision_of(model, spec, artefacts=artefacts)
    except SubjectError as error:
        raise ArtefactError(
            f"{error}. Or set `artefact` for the sentence encoder (all-minilm-l6-v2 is pinned)"
        ) from error
    return MiniLM(model, tokenizer, identity=f"{spec.model}@{revision} {spec.dtype}")


def _padded(rows: Sequence[Sequence[Any]], fill: Any) -> np.ndarray:
    """Return rows of whole numbers, or of pairs of them, filled up to the length of the longest."""
    width = max(map(len, rows))
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], dtype=np.int64)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: on matrices this small, waiting for others takes most of the time."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _unit(vectors: Float[np.ndarray, "*shape feature"]) -> Float[np.ndarray, "*shape feature"]:
    """Return vectors of length one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
