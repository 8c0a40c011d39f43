"""What is made of other explanations, beside these: the guard against sweet talk, and what a revision gains.

Explainer and simulator may agree on words that mean nothing to others. A text that says something keeps its
score when another model puts it in other words; the gap, original less paraphrase, is what does not survive.
"""

import polars as pl

from neuroscribe.explain.paraphrase import Paraphrase
from neuroscribe.explain.revision import Revision
from neuroscribe.measures.means import mean_interval
from neuroscribe.study.dues import Due, dues
from neuroscribe.study.spec import Study

_SIDE = ["layer", "neuron", "polarity"]
_COLUMNS = {
    "explainer": pl.String, "of": pl.String, "scorer": pl.String, "n": pl.Int64, "undefined": pl.Int64,
    "first": pl.Float64, "own": pl.Float64, "difference": pl.Float64,
    "ci_low": pl.Float64, "ci_high": pl.Float64,
}  # fmt: skip


def gaps(study: Study, explanations: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Return one row per paraphrasing explainer and scorer: how much of a score is lost in other words.

    `first` and `own` are the means of the originals and of their paraphrases on `test`, by the scorer's first
    regime, over the neurons of the random sample that have both; `difference` is the mean of first - own with
    its 95 % interval (`mean_interval`, null below three neurons). `undefined` counts the neurons of which
    only one of the two has a score: what simulates the same everywhere has none.
    """
    return _table(study, Paraphrase, explanations, scores, sign=1)


def gains(study: Study, explanations: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    """Return the same of revisions and their controls, with own - first as the difference."""
    return _table(study, Revision, explanations, scores, sign=-1)


def _table(
    study: Study,
    kind: type[Paraphrase] | type[Revision],
    explanations: pl.DataFrame,
    scores: pl.DataFrame,
    *,
    sign: int,
) -> pl.DataFrame:
    own = {name: spec.of for name, spec in study.explainers.items() if isinstance(spec, kind)}
    rows = [
        _row(due, own[due.explainer], explanations, scores, sign=sign)
        for due in dues(study)
        if due.explainer in own
    ]
    return pl.DataFrame(rows, schema=_COLUMNS)


def _row(
    due: Due, of: str, explanations: pl.DataFrame, scores: pl.DataFrame, *, sign: int
) -> dict[str, object]:
    scored = scores.filter(split="test", scorer=due.scorer, regime=due.regimes[0])
    known = scored.select("explanation_id", "value")
    first, own = (
        _begun_from(explanations, name).join(known, on="explanation_id").select(*_SIDE, value="value")
        for name in (of, due.explainer)
    )
    both = first.join(own, on=_SIDE, suffix="_own", maintain_order="left")
    pairs = both.drop_nulls(["value", "value_own"])
    one = both.filter(pl.col("value").is_null() != pl.col("value_own").is_null())
    difference = sign * (pairs["value"] - pairs["value_own"])
    low, high = mean_interval(difference)
    return {
        "explainer": due.explainer,
        "of": of,
        "scorer": due.scorer,
        "n": pairs.height,
        "undefined": one.height,
        "first": pairs["value"].mean(),
        "own": pairs["value_own"].mean(),
        "difference": difference.mean(),
        "ci_low": low,
        "ci_high": high,
    }


def _begun_from(explanations: pl.DataFrame, explainer: str) -> pl.DataFrame:
    """Return, of each neuron of the random sample, the explanation that others begin from: its first text."""
    own = explanations.filter(explainer=explainer, status="ok", draw=0, sample="random")
    return own.sort(*_SIDE, "sample_index").unique(_SIDE, keep="first", maintain_order=True)
