"""Encoded corpus: every sequence by the study's sentence encoders, for what is read without an LLM."""

from collections.abc import Mapping

import dagster as dg
import polars as pl

from assets.stage import stage
from neuroscribe.ports.sources import EncoderSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study


def encoded_corpus(study: Study) -> dg.AssetsDefinition:
    """Return the asset `encoded_corpus` of a study that names a sentence encoder."""

    @stage(
        study,
        "encoded_corpus",
        description="A vector in context for every piece of every sequence, by every sentence encoder of the"
        " study; no dataset holds it.",
        kinds={"huggingface", "parquet"},
    )
    def asset(
        corpus: Mapping[str, pl.DataFrame],
        encoders: dg.ResourceParam[EncoderSource],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        from neuroscribe.capture.encoded_corpus import encoded_corpus as encoded
        from neuroscribe.text.corpus import TokenBytes

        tokens = TokenBytes(corpus["corpus/sequences"], corpus["corpus/vocabulary"])
        frame = encoded(study, tokens, encoders=encoders, progress=progress)
        return dg.MaterializeResult(
            value=frame,
            metadata={
                "sequences": frame["sequence_id"].n_unique(),
                "encoders": frame["encoder"].unique(maintain_order=True).to_list(),
                "bytes": int(frame["vectors"].bin.size().sum()),
            },
        )

    return asset
