"""Capture without a study: a model and some texts that one holds in a notebook, tables back.

from transformers import AutoModelForCausalLM, AutoTokenizer
from neuroscribe.direct import captured_texts

model, tokenizer = AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name)
tables = captured_texts(model, tokenizer, texts)
tables["neuron_records"], tables["activations/statistics"]
"""

import random
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl

from neuroscribe.architectures import down_projections, model_type
from neuroscribe.capture import CapturePlan, automatic_batch_tokens, capture
from neuroscribe.capture.statistics import layer_statistics
from neuroscribe.corpus import every_sequence, token_matrix, vocabulary
from neuroscribe.errors import CorpusError
from neuroscribe.neuron_records import ExemplarPlan, neuron_records
from neuroscribe.ports import Document, Progress
from neuroscribe.sampling import quantile_pools
from neuroscribe.subjects import Subject
from neuroscribe.token_bytes import tokenizer_facts


def captured_texts(
    model: Any,
    tokenizer: Any,
    texts: Iterable[str],
    *,
    layers: Sequence[int] | None = None,
    sequence_length: int = 64,
    top_k: int = 20,
    random_sequences: int = 30,
    prefix_ids: Sequence[int] = (),
    batch_tokens: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, pl.DataFrame]:
    """Capture every neuron of the layers (all, unless given) over all texts, in one pass.

    Returns the tables `corpus/sequences`, `corpus/vocabulary`, `activations/statistics` and `neuron_records`,
    all layers together, with the columns of `neuroscribe.records`. Both signs are kept where MLPs are gated.
    The model is put into evaluation mode. Raises SubjectError for a model without dense MLPs, CorpusError for
    texts that give too few sequences, and CaptureError for NaN and inf.
    """
    facts = tokenizer_facts(tokenizer)
    documents = [Document(f"text {place}", text) for place, text in enumerate(texts)]
    sequences = every_sequence(documents, facts, length=sequence_length, seed=seed)
    if len(sequences) < top_k + random_sequences:
        raise CorpusError(
            f"the texts give {len(sequences)} different sequences of {sequence_length} tokens, fewer than"
            f" top_k = {top_k} and random_sequences = {random_sequences} together; lower these or add text"
        )
    projections = down_projections(model)
    chosen = sorted(projections if layers is None else layers)
    polarities = (1, -1) if any(projection.gated for projection in projections.values()) else (1,)
    drawn = random.Random(f"random sequences {seed}")  # noqa: S311 - a seeded draw, not a secret
    random_ids = tuple(sorted(drawn.sample(range(len(sequences)), random_sequences)))
    pools = quantile_pools(len(sequences), random_ids, exemplars=1, seed=seed)
    plan = CapturePlan(top_k, polarities, random_ids, pools=pools)
    states = capture(
        Subject(
            model=model.eval(),
            tokenizer=facts,
            name=model_type(model),
            revision="in memory",
            dtype=model.dtype,
            device=model.device,
            prefix_ids=tuple(prefix_ids),
            batch_tokens=batch_tokens or automatic_batch_tokens(model, model.device),
        ),
        token_matrix(sequences),
        plan=plan,
        layers=chosen,
        progress=progress or _Silent(),
    )
    exemplars = ExemplarPlan(plan, max(1, random_sequences // 2), 1)
    statistics = [
        layer_statistics(state, layer, polarities=polarities, top_k=top_k) for layer, state in states.items()
    ]
    records = [neuron_records(state, layer, exemplars) for layer, state in states.items()]
    return {
        "corpus/sequences": sequences,
        "corpus/vocabulary": vocabulary(facts),
        "activations/statistics": pl.concat(statistics),
        "neuron_records": pl.concat(records),
    }


class _Silent:
    """Shows nothing; fulfils the port `Progress`."""

    @contextmanager
    def task(self, label: str, *, total: int, unit: str) -> Generator[Callable[..., None]]:
        """Open a task that nobody watches."""
        del label, total, unit
        yield self._ignored

    def alarm(self, seconds: float) -> Callable[[], bool]:
        """Return a function that never says that time has passed: nothing is written on the way."""
        del seconds
        return lambda: False

    def _ignored(self, n: int = 1, note: str = "") -> None:
        del n, note
