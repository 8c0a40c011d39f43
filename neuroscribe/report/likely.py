"""What a layer will probably show, before it is captured or explained: for a plan that knows no better."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

from neuroscribe.capture.splits import RANDOM_SPLITS, TOP_SPLITS
from neuroscribe.evidence.exemplars import DRAWS, Neuron
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Listing
from neuroscribe.explain.questions import Question, before, explaining, explaining_order, questions
from neuroscribe.explain.stage import listed
from neuroscribe.ports.labels import Label, Labels
from neuroscribe.study.labels import LabelsSpec
from neuroscribe.study.spec import Study
from neuroscribe.tables.effects import EFFECTS
from neuroscribe.tables.records import EXPLANATIONS
from neuroscribe.tables.scales import BANDS

TEXT = "words about a subject, and the words that often stand before or after them"
"""An explanation of usual length."""
_TOKENS = 1000
"""Different tokens of the likely text; tokens that are alike would be listed once."""
_FIRING = (0, 3, 6)
"""Of every ten tokens those on which a neuron fires, so that some are silent around any of them."""
_PROMOTED = 10
_ROOM = 8
"""Further sequences for each draw, on which every neuron is silent: what comes of a token table is scored on
the quarter that is held out, and each split of that on half of it."""


def likely_statistics(study: Study) -> pl.DataFrame:
    """Return statistics in which every neuron fires on both sides."""
    neurons = study.subject.neurons_per_layer
    facts = {"neuron": range(neurons), "min": [-1.0] * neurons, "max": [1.0] * neurons}
    return pl.DataFrame(facts).with_columns(dead=pl.lit(False), near_dead=pl.lit(False))


def likely_predictability(study: Study) -> pl.DataFrame:
    """Return a table by which every side of every neuron is predicted by its tokens."""
    sides = [(neuron, side) for neuron in range(study.subject.neurons_per_layer) for side in study.polarities]
    table = pl.DataFrame(sides, {"neuron": pl.Int64, "polarity": pl.Int64}, orient="row")
    return table.with_columns(predicted=1.0)


def likely_tables(study: Study, neurons: Sequence[Neuron]) -> dict[str, pl.DataFrame]:
    """Return what a layer's tables hold where these neurons have enough of everything."""
    sides = pl.DataFrame(neurons, {"neuron": pl.Int64, "polarity": pl.Int64}, orient="row")
    # No two neurons have the same tokens on top, or a list of them would be no control for another's.
    shifted = 1 + (pl.col("token_id") + pl.col("place") * _PROMOTED) % _TOKENS / _TOKENS
    tokens = pl.DataFrame({"token_id": range(_TOKENS), "bytes": [b" t%03d" % n for n in range(_TOKENS)]})
    counts = tokens.select("token_id", count=pl.lit(_TOKENS, pl.Int64))
    means = sides.with_row_index("place").join(counts, how="cross").with_columns(mean=shifted)
    records = pl.DataFrame([row for neuron in neurons for row in _exemplars(study, neuron)])
    promoted = tokens.head(_PROMOTED).select("token_id", rank="token_id", direction=pl.lit("output_token"))
    return {
        "corpus/vocabulary": tokens,
        "corpus/sequences": _sequences(study),
        "neuron_records": records,
        "sampled_activations": _sampled(study, records),
        "token_lookup": means.with_columns(shrunken_mean="mean"),
        "connections": sides.rename({"polarity": "sign"}).join(promoted, how="cross"),
        "effects": pl.DataFrame(
            [row for place, neuron in enumerate(neurons) for row in _effects(study, neuron, place)], _EFFECTS
        ),
    }


def likely_explanations(evidence: LayerEvidence, labels: Mapping[str, Labels] | None = None) -> pl.DataFrame:
    """Return explanations such as a study's explainers will give: another one for every question.

    Those that need no LLM are given as they are; for labels of others that are not at hand, likely ones.
    """
    rows = [row for made in likely_rows(evidence, labels).values() for row in made]
    return pl.DataFrame([{name: row[name] for name in _EXPLANATIONS} for row in rows], _EXPLANATIONS)


def likely_rows(
    evidence: LayerEvidence, labels: Mapping[str, Labels] | None = None
) -> dict[str, list[Mapping[str, Any]]]:
    """Return the same as rows, by explainer."""
    study = evidence.study
    made: dict[str, list[Mapping[str, Any]]] = {}
    for name in explaining_order(study):
        spec, own = explaining(study, name), (labels or {}).get(name)
        if isinstance(spec, LabelsSpec):
            own = own or _likely_labels(evidence, name, spec)
        given = before(study, name, made, labels=own)
        if isinstance(spec, Listing):
            made[name] = list(listed(evidence, name, given))
        else:
            by_explanation: dict[Any, list[Question]] = {}
            for question in questions(evidence, name, given):
                if question.n_calls:
                    by_explanation.setdefault(question.makes, []).append(question)
            made[name] = [_likely_row(name, asked) for asked in by_explanation.values()]
    return made


def _likely_labels(evidence: LayerEvidence, name: str, spec: LabelsSpec) -> Labels:
    """Return as many labels of every neuron as are taken."""
    return Labels(
        spec.file,
        {
            (evidence.layer, *neuron): [
                Label(f"{TEXT} {name} {neuron} {place}", "") for place in range(spec.candidates)
            ]
            for neuron in evidence.neurons
        },
    )


def _likely_row(name: str, asked: Sequence[Question]) -> Mapping[str, Any]:
    question = asked[0]
    label = f"{name} {question.neuron} {question.sample_index} {question.draw}"
    parts = None if len(asked) == 1 else [f"{TEXT} {label} {place}" for place in range(len(asked))]
    return {
        "explanation_id": label,
        "neuron": question.neuron[0],
        "polarity": question.neuron[1],
        "text": f"{TEXT} {label}",
        "parts": parts,
        "half": question.spec.half,
        "sample": question.sample,
        "status": "ok",
        "explainer": name,
        "sample_index": question.sample_index,
        "draw": question.draw,
        "sequence_ids": [sequence for each in asked for sequence in each.shown.sequence_ids],
    }


_EXPLANATIONS = {
    name: EXPLANATIONS.schema[name]
    for name in (
        "explanation_id", "neuron", "polarity", "text", "parts", "half", "sample", "status", "explainer",
        "sample_index", "draw", "sequence_ids",
    )
}  # fmt: skip


_EFFECTS = {
    name: EFFECTS.schema[name] for name in ("neuron", "polarity", "kind", "rank", "token_id", "token_ids")
}


def _effects(study: Study, neuron: Neuron, place: int) -> Iterator[dict[str, Any]]:
    """Yield what an amplified neuron may do: it changes tokens and says things of its own."""
    own = {"neuron": neuron[0], "polarity": neuron[1]}
    spec, first = study.amplifying, place * _PROMOTED
    for kind, start in (("promoted", first), ("suppressed", first + _TOKENS // 2)):
        for rank in range(spec.listed):
            yield {**own, "kind": kind, "rank": rank, "token_id": (start + rank) % _TOKENS}
    for rank in range(spec.prompts):
        said = [(first + rank + step) % _TOKENS for step in range(spec.tokens)]
        yield {**own, "kind": "continuation", "rank": rank, "token_ids": said}


def _kept(study: Study) -> list[tuple[str, int, str]]:
    """Return kind, rank and split of a neuron's exemplars, as a capture draws them."""
    top, random, banded = study.capture.top_k, study.capture.random_exemplars, _banded(study)
    return [
        *(("top", rank, TOP_SPLITS[rank % len(TOP_SPLITS)]) for rank in range(top)),
        *(("random", rank, RANDOM_SPLITS[rank % len(RANDOM_SPLITS)]) for rank in range(random)),
        *(("quantile", rank, "train") for rank in range(banded)),
    ]


def _banded(study: Study) -> int:
    """Return how many exemplars of quantile bands are shown; none where no explainer shows any."""
    shown = [spec.banded_shown for spec in study.explainers.values()]
    return min(DRAWS * max(shown, default=0), study.capture.quantile_exemplars * BANDS)


def _sequences(study: Study) -> pl.DataFrame:
    """Return a sequence for each of a neuron's exemplars and some more, no two alike.

    The others hold the tokens of exemplars the other way round: what an explainer shows as a near miss.
    """
    kept = len(_kept(study))
    ids = range(max(kept, min(study.corpus.sequences, kept + _ROOM * study.scoring.sequences)))
    length = study.corpus.sequence_length
    shown = [
        [(first + place if first < kept else first - kept - place) % _TOKENS for place in range(length)]
        for first in ids
    ]
    held_out = [place % 4 == 3 for place in ids]
    columns = {"sequence_id": ids, "document_id": ids, "held_out": held_out, "token_ids": shown}
    return pl.DataFrame(columns)


def _sampled(study: Study, records: pl.DataFrame) -> pl.DataFrame:
    """Return what neurons do on their exemplars, and that they are silent on all other sequences."""
    # Of a neuron with both sides one is taken for all that it does.
    shown = records.select("neuron", "sequence_id", "activations").unique(
        ["neuron", "sequence_id"], keep="first", maintain_order=True
    )
    others = _sequences(study).select("sequence_id").join(shown, on="sequence_id", how="anti")
    silence = pl.lit([0.0] * study.corpus.sequence_length, pl.List(pl.Float64))
    neurons = shown.select("neuron").unique(maintain_order=True)
    silent = neurons.join(others, how="cross").with_columns(activations=silence)
    return pl.concat([shown, silent])


def _exemplars(study: Study, neuron: Neuron) -> list[dict[str, Any]]:
    """Return a neuron's exemplars: it fires all along the top ones, and is silent on the others."""
    length = study.corpus.sequence_length
    strong = [float(neuron[1]) if place % 10 in _FIRING else 0.0 for place in range(length)]
    return [
        {
            "neuron": neuron[0],
            "polarity": neuron[1],
            "kind": kind,
            "split": split,
            "rank": rank,
            "sequence_id": sequence,
            "quantile_low": 0.0,
            "quantile_high": float(neuron[1]),
            "peak": 0.0 if kind == "random" else strong[0],
            "peak_position": 0,
            "activations": [0.0] * length if kind == "random" else strong,
        }
        for sequence, (kind, rank, split) in enumerate(_kept(study))
    ]
