"""Data-quality rules of what a capture reads and yields: the corpus, statistics, and neuron records.

An `error` stops the run before more is built on what is broken. A `warn` says that the text or the subject is
unlike what explanations are made for.
"""

import polars as pl
import polars.selectors as cs

from neuroscribe.ports.checks import Rows, Rule, Suite, Told
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.spec import Study
from neuroscribe.text.corpus import FEWEST_DOCUMENTS

FOLDED = "sequences_left_out_as_repeated_passages"
"""Under this name it is told, as the corpus is made, how many windows repeat a passage of others."""
MOST_FOLDED = 0.25
MOST_DEAD = 0.5
ROUNDING = 1e-6
"""How far a mean may lie beyond the extremes, as a share of the larger: it is summed in other steps."""


def _corpus_rules(study: Study) -> tuple[Rule, ...]:
    length = study.corpus.sequence_length
    return (
        Rule(
            "sequence_ids_differ", "unique", ("sequence_id",), "Each sequence has an id of its own.",
            frame="windows",
        ),
        Rule(
            "sequences_differ", "unique", ("tokens_hash",), "No two sequences are the same.", frame="windows"
        ),
        Rule(
            "sequence_is_whole", "within", ("tokens",), f"Each sequence has {length} tokens.",
            low=float(length), high=float(length), frame="windows",
        ),
        Rule(
            "tokens_are_known", "within", ("unknown_tokens",), "Each token is in the vocabulary.",
            high=0.0, frame="windows",
        ),
        Rule(
            "document_on_one_side", "within", ("sides",),
            "Each document is either held out from the token tables or not.",
            high=1.0, frame="documents",
        ),
        Rule(
            "something_held_out", "within", ("documents",),
            "There are documents that are held out from the token tables, and others that are not.",
            low=1.0, frame="sides",
        ),
        Rule(
            "documents_on_each_side", "within", ("documents",),
            f"At least {FEWEST_DOCUMENTS} documents are held out from the token tables, and as many are not.",
            low=float(FEWEST_DOCUMENTS), severity="warn", frame="sides",
        ),
        Rule(
            "few_repeated_passages", "within", ("share_folded",),
            f"At most {MOST_FOLDED:.0%} of the text's windows repeat a passage and were left out.",
            high=MOST_FOLDED, severity="warn", frame="folding",
        ),
    )  # fmt: skip


def corpus_rows(sequences: pl.DataFrame, vocabulary: pl.DataFrame, told: Told) -> dict[str, Rows]:
    """Return the rows that rules are about, by frame.

    - `windows`: one per sequence; `documents`: one per document, with the `sides` that it is on
    - `sides`: two, with the documents on each; `folding`: one, where it was told how much was left out
    """
    token = pl.element()
    unknown = pl.col("token_ids").list.eval((token < 0) | (token >= len(vocabulary))).list.sum()
    windows = sequences.select(
        "sequence_id",
        "document_id",
        tokens=pl.col("token_ids").list.len(),
        tokens_hash=pl.col("token_ids").hash(),
        unknown_tokens=unknown,
    )
    documents = sequences.group_by("document_id", maintain_order=True).agg(
        sides=pl.col("held_out").n_unique()
    )
    apart = [sequences.filter(pl.col("held_out") == side)["document_id"].n_unique() for side in (True, False)]
    sides = pl.DataFrame({"side": ["held out", "not held out"], "documents": apart})
    folded = told.now.get(FOLDED)
    folding = [{"sequences": len(sequences), "folded": folded}] if isinstance(folded, int) else []
    share = pl.col("folded") / (pl.col("folded") + pl.col("sequences"))
    return {
        "windows": Rows(windows, ("sequence_id", "document_id")),
        "documents": Rows(documents, ("document_id",)),
        "sides": Rows(sides, ("side",)),
        "folding": Rows(
            pl.DataFrame(folding, schema={"sequences": pl.Int64, "folded": pl.Int64}).with_columns(
                share_folded=share
            ),
            ("sequences", "folded"),
        ),
    }


def _activation_rules(study: Study) -> tuple[Rule, ...]:
    neurons, tokens = study.subject.neurons_per_layer, study.corpus.sequences * study.corpus.sequence_length
    return (
        Rule(
            "every_neuron_once", "unique", ("layer", "neuron"), "Each neuron is one row.", frame="statistics"
        ),
        Rule(
            "every_neuron_there", "within", ("neurons",), f"A layer has {neurons} neurons.",
            low=float(neurons), high=float(neurons), frame="layers",
        ),
        Rule(
            "activations_are_numbers", "within", ("not_finite",),
            "No statistic of a neuron is infinite or no number, as one such activation would make it.",
            high=0.0, frame="statistics",
        ),
        Rule(
            "every_token_counted", "within", ("n_tokens",),
            f"Each neuron's activations are those of {tokens} tokens.",
            low=float(tokens), high=float(tokens), frame="statistics",
        ),
        Rule(
            "histogram_holds_all", "difference", ("n_tokens", "in_histogram"),
            "The counts of a histogram add up to the tokens.",
            low=0.0, high=0.0, frame="statistics",
        ),
        Rule(
            "mean_within_extremes", "within", ("mean_beyond",),
            "A mean is neither below the smallest activation nor above the largest.",
            high=ROUNDING, frame="statistics",
        ),
        Rule(
            "few_dead_neurons", "null_share", ("alive",),
            f"At most {MOST_DEAD:.0%} of a layer's neurons are dead.",
            high=MOST_DEAD, severity="warn", frame="statistics",
        ),
    )  # fmt: skip


def activation_rows(statistics: pl.DataFrame) -> dict[str, Rows]:
    """Return the rows that rules are about, by frame: `statistics`, one per neuron, and `layers`."""
    low, high, mean = (pl.col(name) for name in ("min", "max", "mean"))
    size = pl.max_horizontal(low.abs(), high.abs())
    rows = statistics.select(
        "layer",
        "neuron",
        "n_tokens",
        not_finite=pl.sum_horizontal(~cs.float().is_finite().fill_null(value=True)),
        in_histogram=pl.col("histogram").list.sum(),
        mean_beyond=pl.when(size > 0).then(pl.max_horizontal(low - mean, mean - high) / size),
        alive=pl.when(~pl.col("dead")).then(1),
    )
    layers = statistics.group_by("layer", maintain_order=True).agg(neurons=pl.len())
    return {"statistics": Rows(rows, ("layer", "neuron")), "layers": Rows(layers, ("layer",))}


_RECORD_RULES = (
    Rule(
        "peak_is_the_extreme", "difference", ("top_peak", "extreme"),
        "The peak of a neuron's first top exemplar is its largest activation (smallest, for polarity -1).",
        low=0.0, high=0.0, frame="sides",
    ),
    Rule(
        "active_neuron_has_exemplars", "within", ("top_exemplars",),
        "A neuron that is active on a side of zero has top exemplars of it.",
        low=1.0, frame="active",
    ),
    Rule(
        "peak_in_its_place", "within", ("misplaced",),
        "An exemplar's peak is the largest of its activations, and where it says.",
        high=0.0, frame="sides",
    ),
    Rule(
        "document_in_one_split", "within", ("shared_documents",),
        "No document is in two splits of a neuron: scores are of text that the explainer has not seen.",
        high=0.0, frame="sides",
    ),
)  # fmt: skip


def record_rows(
    records: pl.DataFrame, statistics: pl.DataFrame, sequences: pl.DataFrame, polarities: tuple[int, ...]
) -> dict[str, Rows]:
    """Return the rows that rules are about, by frame: `sides`, one per neuron and polarity, and `active`."""
    side = ["layer", "neuron", "polarity"]
    activations, polarity = pl.col("activations"), pl.col("polarity")
    largest = pl.when(polarity > 0).then(activations.list.max()).otherwise(activations.list.min())
    there = activations.list.get(pl.col("peak_position"), null_on_oob=True)
    of_side = records.group_by(side).agg(
        top_exemplars=(pl.col("kind") == "top").sum(),
        top_peak=pl.col("peak").filter(pl.col("kind") == "top", pl.col("rank") == 0).first().cast(pl.Float64),
        misplaced=(largest.ne_missing(pl.col("peak")) | there.ne_missing(pl.col("peak"))).sum(),
    )
    shared = (
        records.join(sequences.select("sequence_id", "document_id"), on="sequence_id")
        .group_by(*side, "document_id")
        .agg(splits=pl.col("split").n_unique())
        .group_by(side)
        .agg(shared_documents=(pl.col("splits") > 1).sum())
    )
    extreme = pl.when(polarity > 0).then("max").otherwise("min").alias("extreme")
    sides = (
        statistics.join(pl.DataFrame({"polarity": polarities}, {"polarity": pl.Int8}), how="cross")
        .select(*side, extreme)
        .join(of_side, on=side, how="left", maintain_order="left")
        .join(shared, on=side, how="left", maintain_order="left")
    )
    active = sides.filter(pl.col("extreme") * polarity > 0).with_columns(pl.col("top_exemplars").fill_null(0))
    return {"sides": Rows(sides, tuple(side)), "active": Rows(active, tuple(side))}


class CorpusSuite(Suite):
    """What is examined of the corpus."""

    stage = "corpus"

    def rules(self, study: Study) -> tuple[Rule, ...]:
        """Return the rules, which know how long sequences are."""
        return _corpus_rules(study)

    def rows(self, study: Study, layer: int | None, tables: TableReader, told: Told) -> dict[str, Rows]:
        """Return the rows of all layers' text."""
        names = ("sequences", "vocabulary")
        sequences, vocabulary = (tables.read(study.name, f"corpus/{name}") for name in names)
        return corpus_rows(sequences, vocabulary, told)


class ActivationSuite(Suite):
    """What is examined of the statistics."""

    stage = "activations"

    def rules(self, study: Study) -> tuple[Rule, ...]:
        """Return the rules, which know how many neurons and tokens there are."""
        return _activation_rules(study)

    def rows(self, study: Study, layer: int | None, tables: TableReader, told: Told) -> dict[str, Rows]:
        """Return the rows of a layer."""
        return activation_rows(tables.read(study.name, "activations/statistics", layer))


class RecordSuite(Suite):
    """What is examined of the neuron records."""

    stage = "neuron_records"
    reads = ("activations", "corpus")

    def rules(self, study: Study) -> tuple[Rule, ...]:
        """Return the same rules for every study."""
        return _RECORD_RULES

    def rows(self, study: Study, layer: int | None, tables: TableReader, told: Told) -> dict[str, Rows]:
        """Return the rows of a layer."""
        return record_rows(
            tables.read(study.name, "neuron_records", layer),
            tables.read(study.name, "activations/statistics", layer),
            tables.read(study.name, "corpus/sequences"),
            study.polarities,
        )
