"""The tables as data: every column's name, type and meaning, declared once.

These declarations drive the Parquet files, Dagster's column schemas and lineage, and the dataset card. A
layer's rows lie in one file; anything large stays a pointer (sequence id, position, value).
"""

import polars as pl

from neuroscribe.tables.columns import (
    EXPLANATION_ID,
    FLOATS,
    LAYER,
    NEURON,
    POLARITY,
    SAMPLE,
    SEQUENCE_ID,
    SPLIT,
    USAGE,
    Column,
    Table,
)

SEQUENCES = Table(
    "corpus/sequences",
    "Fixed-length windows of tokens, each within one document, in the seeded order of the study; no two share"
    " a run of 13 tokens.",
    ("sequence_id",),
    (
        SEQUENCE_ID,
        Column("document_id", pl.UInt32(), "index of the document in the text source"),
        Column("source", pl.String(), "title or file and line of the document"),
        Column(
            "held_out",
            pl.Boolean(),
            "whether the document is of the quarter that no table of tokens is learned from",
        ),
        Column("token_ids", pl.List(pl.Int32()), "token ids of the subject's tokenizer (length T)"),
    ),
    per_layer=False,
)

VOCABULARY = Table(
    "corpus/vocabulary",
    "The subject's tokens.",
    ("token_id",),
    (
        Column("token_id", pl.Int32(), "id in the subject's tokenizer"),
        Column("bytes", pl.Binary(), "the exact bytes the token stands for"),
        Column("text", pl.String(), "the token for display; bytes that are no UTF-8 appear as \\xNN"),
    ),
    per_layer=False,
)

STATISTICS = Table(
    "activations/statistics",
    "Statistics of every neuron over all tokens of the corpus.",
    ("layer", "neuron"),
    (
        LAYER,
        NEURON,
        Column("n_tokens", pl.Int64(), "activations counted"),
        Column("mean", pl.Float64(), "mean activation"),
        Column("variance", pl.Float64(), "population variance"),
        Column("skewness", pl.Float64(), "standardised third moment; null if constant", nullable=True),
        Column(
            "kurtosis",
            pl.Float64(),
            "standardised fourth moment (3 = normal); null if constant",
            nullable=True,
        ),
        Column("min", pl.Float64(), "smallest activation"),
        Column("max", pl.Float64(), "largest activation"),
        Column("fraction_positive", pl.Float32(), "share of activations above zero"),
        Column(
            "histogram",
            pl.List(pl.Int64()),
            "counts between the metadata's neuroscribe.histogram_edges; null without capture.token_histogram",
            nullable=True,
        ),
        Column(
            "quantiles",
            FLOATS,
            "activation at the metadata's neuroscribe.quantile_levels, to one bin of histogram, whose"
            " outermost end at min and max; null where histogram is",
            nullable=True,
        ),
        Column("dead", pl.Boolean(), "no activation on a studied side of zero"),
        Column(
            "near_dead",
            pl.Boolean(),
            "not dead, but active on no studied side in as many sequences as the top exemplars are",
        ),
    ),
)

NEURON_RECORDS = Table(
    "neuron_records",
    "Exemplars of every neuron: the sequences where it peaks, quantile bands, and shared random sequences.",
    ("layer", "neuron", "polarity", "kind", "rank"),
    (
        LAYER,
        NEURON,
        POLARITY,
        Column("kind", pl.String(), "top, quantile or random"),
        Column(
            "quantile_low",
            pl.Float32(),
            "lower bound of the band's peaks (signed), to an eighth of an octave; coarse for sizes"
            " below 2^-20 or beyond 2^15: they are taken to be spread evenly up to the extremes",
            nullable=True,
        ).made_from(("activations", "histogram")),
        Column(
            "quantile_high",
            pl.Float32(),
            "upper bound of the band's peaks (signed), as exact as quantile_low",
            nullable=True,
        ).made_from(("activations", "histogram")),
        Column("rank", pl.Int32(), "place within the kind, from 0"),
        SPLIT,
        SEQUENCE_ID.made_from(("corpus", "sequence_id")),
        Column("peak", pl.Float32(), "the sequence's largest activation (smallest, for polarity -1)"),
        Column("peak_position", pl.Int16(), "token index of the peak (the first, if several)"),
        Column("activations", FLOATS, "the neuron's value at each token (length T)"),
    ),
)

SAMPLED_ACTIVATIONS = Table(
    "sampled_activations",
    "Every activation of the sampled neurons, on all sequences or on a seeded draw of them"
    " (sample.sequences); both polarities of a neuron share a row.",
    ("layer", "neuron", "sequence_id"),
    (
        LAYER,
        NEURON,
        SEQUENCE_ID.made_from(("corpus", "sequence_id")),
        Column("activations", FLOATS, "the neuron's value at each token (length T)"),
    ),
)

TOKEN_LOOKUP = Table(
    "token_lookup",
    "Mean activation of the sampled neurons per token, over documents that are not held out.",
    ("layer", "neuron", "polarity", "token_id"),
    (
        LAYER,
        NEURON,
        POLARITY,
        Column("token_id", pl.Int32(), "row of corpus/vocabulary").made_from(("corpus", "token_ids")),
        Column("count", pl.Int64(), "occurrences of the token in documents that are not held out").made_from(
            ("corpus", "held_out")
        ),
        Column(
            "mean",
            pl.Float32(),
            "mean activation there on the explained side (neuroscribe/evidence/exemplars.py)",
        ).made_from(("sampled_activations", "activations")),
        Column(
            "shrunken_mean",
            pl.Float32(),
            "the mean drawn towards the neuron's mean over all tokens, the more, the rarer the token"
            " (neuroscribe/capture/token_lookup.py)",
        ).made_from(("sampled_activations", "activations")),
    ),
)

CONNECTIONS = Table(
    "connections",
    "What each neuron reads and writes, by weight: tokens and neurons with the largest strengths.",
    ("layer", "neuron", "direction", "sign", "rank"),
    (
        LAYER,
        NEURON,
        Column("direction", pl.String(), "input_token, output_token, upstream_neuron or downstream_neuron"),
        Column("sign", pl.Int8(), "+1 for the most positive strengths, -1 for the most negative"),
        Column("rank", pl.Int32(), "place by size of the strength, from 0"),
        Column("token_id", pl.Int32(), "the token, for token directions", nullable=True).made_from(
            ("corpus", "token_id")
        ),
        Column("other_layer", pl.Int16(), "the other neuron's layer, for neuron directions", nullable=True),
        Column("other_neuron", pl.Int32(), "the other neuron, for neuron directions", nullable=True),
        Column(
            "strength", pl.Float32(), "weight along the residual stream (neuroscribe/capture/connections.py)"
        ),
    ),
)

EXPLANATIONS = Table(
    "explanations",
    "Explanations with everything that led to them; refusals and failures are rows too.",
    ("explanation_id",),
    (
        EXPLANATION_ID,
        LAYER,
        NEURON.made_from(("neuron_records", "neuron")),
        POLARITY.made_from(("neuron_records", "polarity")),
        Column("text", pl.String(), "the explanation; null unless status is ok", nullable=True).made_from(
            ("neuron_records", "activations"),
            ("corpus", "token_ids"),
            ("token_lookup", "mean"),
            ("connections", "token_id"),
            ("effects", "token_id"),
        ),
        Column("long_text", pl.String(), "a longer explanation, where one was asked for", nullable=True),
        Column(
            "parts",
            pl.List(pl.String()),
            "texts of which each is read by itself and the largest value counts, such as the senses of a"
            " neuron; null where the text is read as a whole",
            nullable=True,
        ),
        Column(
            "half", pl.String(), "input: what the neuron fires on; output: what it does to the next token"
        ),
        SAMPLE,
        Column("status", pl.String(), "ok, or why there is no text: see EXPLANATION_STATUSES"),
        Column("explainer", pl.String(), "name of the explainer in the study"),
        Column("form", pl.String(), "kind of the explainer; of `auto` the form that its probe chose"),
        Column("model", pl.String(), "model and revision; `none` for explainers without an LLM"),
        Column("prompt_sha256", pl.String(), "hash of the prompt, which lies in the call store"),
        Column("sample_index", pl.Int32(), "candidate number, from 0"),
        Column(
            "draw", pl.Int32(), "draw of exemplars, from 0; others than 0 show how stable explanations are"
        ),
        Column(
            "similarity",
            pl.Float64(),
            "cosine of the text to that of draw 0, by the study's first sentence encoder; null for draw 0,"
            " and where a text or an encoder is missing",
            nullable=True,
        ),
        Column("sequence_ids", pl.List(pl.UInt32()), "sequences the explainer saw").made_from(
            ("neuron_records", "sequence_id")
        ),
        *USAGE,
        Column("raw_response", pl.String(), "the reply as received"),
    ),
)

SIMULATIONS = Table(
    "simulations",
    "Simulated activations per explanation and sequence; rows whose neuron is not the explanation's own are"
    " controls.",
    ("explanation_id", "simulator", "neuron", "polarity", "sequence_id"),
    (
        EXPLANATION_ID.made_from(("explanations", "explanation_id")),
        Column("neuron", pl.Int32(), "the neuron that the explanation is held against there"),
        POLARITY,
        SEQUENCE_ID.made_from(("neuron_records", "sequence_id"), ("sampled_activations", "sequence_id")),
        SPLIT.made_from(("neuron_records", "split")),
        Column("simulated", FLOATS, "expected activation per token, 0..10 (length T)").made_from(
            ("explanations", "text"), ("corpus", "token_ids")
        ),
        Column("valid_fraction", pl.Float32(), "probability mass on valid values", nullable=True),
        Column(
            "stratum",
            pl.String(),
            "where the estimate over the corpus rests on it: the stratum it was drawn from"
            " (neuroscribe/evidence/drawn.py)",
            nullable=True,
        ).made_from(("sampled_activations", "activations")),
        Column(
            "stratum_size",
            pl.Int64(),
            "sequences of that stratum in the population; over the number drawn, the sequence's weight",
            nullable=True,
        ),
        Column("status", pl.String(), "ok, or why some or all values are NaN: see READING_STATUSES"),
        Column(
            "unmatched_words",
            pl.Int32(),
            "words that the answer copies and the text does not hold, where words are copied",
            nullable=True,
        ),
        *USAGE,
        Column("simulator", pl.String(), "name of the simulator in the study"),
        Column("model", pl.String(), "model, revision and prompt version"),
    ),
)

SCORES = Table(
    "scores",
    "How far each explanation can be trusted, one row per explanation, scorer, split and regime; the headline"
    " has chosen, split test and regime corpus.",
    ("explanation_id", "scorer", "split", "regime"),
    (
        EXPLANATION_ID.made_from(("explanations", "explanation_id")),
        LAYER,
        NEURON,
        POLARITY,
        SAMPLE,
        Column("explainer", pl.String(), "name of the explainer in the study").made_from(
            ("explanations", "explainer")
        ),
        Column("scorer", pl.String(), "measure and simulator, as in r2_all_at_once, or scorer and measure"),
        SPLIT,
        Column(
            "regime",
            pl.String(),
            "corpus: estimate for the whole corpus; top_and_random, random_only: as in Bills et al. 2023;"
            " amplified: from what the subject says with the neuron amplified; written: from sentences"
            " that were written from the explanation",
        ),
        Column(
            "value", pl.Float64(), "the score; what it measures, the scorer's name says", nullable=True
        ).made_from(
            ("simulations", "simulated"),
            ("sampled_activations", "activations"),
            ("encoded_corpus", "vectors"),
            ("neuron_records", "activations"),
            ("judgements", "answer"),
            ("judgements", "probability"),
            ("ablations", "simulated_divergence"),
            ("ablations", "mean_divergence"),
            ("sentences", "fires"),
            ("choices", "chosen"),
        ),
        Column(
            "ci_low",
            pl.Float64(),
            "lower bound of the 95 % interval; null for the paper's regimes",
            nullable=True,
        ),
        Column("ci_high", pl.Float64(), "upper bound of the same", nullable=True),
        Column("n_sequences", pl.Int32(), "sequences scored, or excerpts judged"),
        Column("n_tokens", pl.Int32(), "tokens of these"),
        Column(
            "n_unreadable",
            pl.Int32(),
            "sequences or excerpts without a readable answer, which are not scored",
        ),
        Column(
            "ceiling",
            pl.Float64(),
            "the same for the mean activation per token in other documents",
            nullable=True,
        ).made_from(("sampled_activations", "activations"), ("corpus", "token_ids")),
        Column(
            "control", pl.Float64(), "mean of the same over other neurons' explanations", nullable=True
        ).made_from(
            ("simulations", "simulated"), ("neuron_records", "activations"), ("encoded_corpus", "vectors")
        ),
        Column("n_controls", pl.Int32(), "explanations of other neurons that it was held against"),
        Column(
            "p",
            pl.Float64(),
            "how likely another neuron's explanation does as well (neuroscribe/measures/controls.py)",
            nullable=True,
        ),
        Column("null_reason", pl.String(), "why there is no value", nullable=True),
        Column("chosen", pl.Boolean(), "the best candidate on valid (or the only one)"),
        Column("draw", pl.Int32(), "as in explanations; above 0 for stability alone, and never chosen"),
    ),
)
