"""Capture without a study: a model and some texts that one holds in a notebook, tables back.

from transformers import AutoModelForCausalLM, AutoTokenizer
from neuroscribe.capture.direct import captured_texts

model, tokenizer = AutoModelForCausalLM.from_pretrained(name), AutoTokenizer.from_pretrained(name)
tables = captured_texts(model, tokenizer, texts)
tables["neuron_records"], tables["activations/statistics"]
"""

import re
from collections.abc import Iterable, Sequence
from operator import index
from typing import Any

import numpy as np
import polars as pl
import torch

from neuroscribe.capture.fit import automatic_batch_tokens
from neuroscribe.capture.neuron_records import ExemplarPlan, neuron_records
from neuroscribe.capture.plan import drawn_ids, quantile_pools
from neuroscribe.capture.run import capture
from neuroscribe.capture.state import CapturePlan
from neuroscribe.capture.statistics import layer_statistics
from neuroscribe.errors import CorpusError, StudyError, SubjectError
from neuroscribe.ports.silent import Silent
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import LONGEST_SEQUENCE, SHORTEST_SEQUENCE
from neuroscribe.subject.architectures import model_type
from neuroscribe.subject.subject import Subject
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.text.corpus import every_sequence, token_matrix, vocabulary
from neuroscribe.text.documents import Document
from neuroscribe.text.token_bytes import tokenizer_facts
from neuroscribe.text.token_rules import check_rules

_SURROGATE = re.compile("[\ud800-\udfff]")


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
    units: UnitKind = MLP_NEURONS,
) -> dict[str, pl.DataFrame]:
    """Capture every neuron of the layers (all, unless given) over all texts, in one pass.

    Returns the tables `corpus/sequences`, `corpus/vocabulary`, `activations/statistics` and `neuron_records`,
    all layers together, with the columns of `neuroscribe.tables.records`. Texts and passages that come again
    are left out, and no text is in two splits of a neuron, so that few texts leave splits empty. `units` says
    what a neuron is; both signs are kept where both mean something, as in gated MLPs. The model is put into
    evaluation mode. Raises SubjectError for what is no model, or one with an encoder, without such neurons or
    without its weights, and for a tokenizer without a fast form, or one that splits the texts otherwise than
    the tokenizer.json that it came from; CorpusError for texts that are none or give too few sequences;
    StudyError for numbers or layers that there cannot be; CaptureError for NaN and inf.
    """
    _check_model(model)
    sites = units.sites(model)
    sequence_length = _integer("sequence_length", sequence_length, SHORTEST_SEQUENCE, LONGEST_SEQUENCE)
    top_k, random_sequences = _integer("top_k", top_k), _integer("random_sequences", random_sequences)
    batch = automatic_batch_tokens(model, model.device, units) if batch_tokens is None else batch_tokens
    batch = _integer("batch_tokens", batch)
    prefix = _integers("prefix_ids", prefix_ids)
    chosen = sorted(sites if layers is None else _integers("layers", layers))
    if not chosen:
        raise StudyError("layers is empty; name at least one, or leave it out for all")
    facts, documents = tokenizer_facts(tokenizer), _documents(texts)
    check_rules(tokenizer, facts, (document.text for document in documents))
    sequences = every_sequence(documents, facts, length=sequence_length, seed=seed)
    if len(sequences) < top_k + random_sequences:
        raise CorpusError(
            f"the texts give {len(sequences)} different sequences of {sequence_length} tokens, fewer than"
            f" top_k = {top_k} and random_sequences = {random_sequences} together;"
            " add text, or lower these or sequence_length"
        )
    polarities = (1, -1) if any(site.signed for layer, site in sites.items() if layer in chosen) else (1,)
    random_ids = drawn_ids(len(sequences), random_sequences, seed=seed)
    pools = quantile_pools(len(sequences), random_ids, exemplars=1, seed=seed)
    plan = CapturePlan(top_k, polarities, random_ids, pools)
    states = capture(
        Subject(
            model=model.eval(),
            tokenizer=facts,
            name=model_type(model),
            revision="in memory",
            dtype=model.dtype,
            device=model.device,
            prefix_ids=prefix,
            batch_tokens=batch,
            units=units,
        ),
        torch.as_tensor(token_matrix(sequences)),
        plan=plan,
        layers=chosen,
        progress=progress or Silent(),
    )
    exemplars = ExemplarPlan(plan, max(1, random_sequences // 2), 1)
    statistics = [
        layer_statistics(state, layer, polarities=polarities, top_k=top_k) for layer, state in states.items()
    ]
    of_document = sequences["document_id"].to_numpy().astype(np.int64)
    records = [neuron_records(state, layer, exemplars, of_document) for layer, state in states.items()]
    return {
        "corpus/sequences": sequences,
        "corpus/vocabulary": vocabulary(facts),
        "activations/statistics": pl.concat(statistics),
        "neuron_records": pl.concat(records),
    }


def _check_model(model: Any) -> None:
    """Raise SubjectError for what cannot be run."""
    if not isinstance(model, torch.nn.Module):
        raise SubjectError(
            f"model is {type(model).__name__}; give a loaded model, as AutoModelForCausalLM.from_pretrained"
            " returns it"
        )
    if (kind := type(model).__name__) in ("DataParallel", "DistributedDataParallel"):
        raise SubjectError(f"model is wrapped in {kind}; give the model inside: model.module")
    if absent := [name for name, weights in model.named_parameters() if weights.is_meta]:
        raise SubjectError(
            f"the model's {absent[0]} is on the meta device, without values; load the weights onto one device"
            " (from_pretrained without a device_map that offloads)"
        )


def _integer(name: str, number: Any, least: int = 1, most: int | None = None) -> int:
    """Return a number as Python's; raises StudyError for what is no integer in a range."""
    try:
        (value,) = _integers(name, [number])
    except StudyError:
        value = least - 1
    if value < least or (most is not None and value > most):
        wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise StudyError(f"{name} = {number!r}; give an integer {wanted}")
    return value


def _integers(name: str, values: Any) -> tuple[int, ...]:
    """Return integers of any library as Python's; raises StudyError for anything else."""
    try:
        return tuple(index(value) for value in values)
    except TypeError:
        raise StudyError(f"{name} = {values!r}; give a list of integers") from None


def _documents(texts: Any) -> list[Document]:
    """Return texts as documents; raises CorpusError where there is none."""
    if isinstance(texts, str):
        raise CorpusError("texts is one str, which would be taken letter by letter; give a list: [text]")
    if not hasattr(texts, "__iter__"):
        raise CorpusError(f"texts is {type(texts).__name__}; give a list of str")
    documents: list[Document] = []
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            raise CorpusError(f"text {place} is {type(text).__name__}; give texts as str")
        if lone := _SURROGATE.search(text):
            raise CorpusError(
                f"text {place} holds half a character ({lone[0]!r} at {lone.start()}), which no tokenizer"
                " reads; read its file as UTF-8, or leave the text out"
            )
        documents.append(Document(f"text {place}", text))
    if not any(document.text.strip() for document in documents):
        raise CorpusError(f"the {len(documents)} texts hold no text; give texts that are not empty")
    return documents
