"""How much explanations of a neuron from different exemplars are alike."""

import polars as pl

from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS

_SIDE = ("explainer", "neuron", "polarity")


def with_similarities(
    explanations: pl.DataFrame, study: Study, *, encoders: EncoderSource, progress: Progress
) -> pl.DataFrame:
    """Return EXPLANATIONS with the similarity of each text from a further draw to that of draw 0.

    It is the cosine of their vectors by the study's first encoder, which is opened only if there are two
    texts to compare. An explainer that draws again writes one text of a neuron and draw.
    """
    texts = explanations.filter(pl.col("text").is_not_null())
    first = texts.filter(draw=0).select(*_SIDE, first="text")
    pairs = texts.filter(pl.col("draw") > 0).join(first, on=_SIDE, maintain_order="left")
    if pairs.is_empty() or not study.encoders:
        return explanations
    encoder = encoders.open(study.encoders[0], progress=progress)
    vectors = {text: encoder.sentence(text) for text in {*pairs["text"], *pairs["first"]}}
    alike = [float(vectors[one] @ vectors[other]) for one, other in pairs.select("text", "first").iter_rows()]
    known = pairs.select("explanation_id", known=pl.Series(alike, dtype=pl.Float64))
    joined = explanations.join(known, on="explanation_id", how="left", maintain_order="left")
    return EXPLANATIONS.checked(joined.with_columns(similarity="known").drop("known"))
