"""The corpus: documents cut into the subject's tokens."""

import dagster as dg

from assets.stage import stage
from neuroscribe.ports.sources import SubjectSource, TextSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import Study


def corpus(study: Study) -> dg.AssetsDefinition:
    """Return the asset `corpus` of a study."""

    @stage(
        study,
        "corpus",
        description="Fixed-length sequences of tokens, each within one document, and the vocabulary's"
        " exact bytes.",
        kinds={"polars", "parquet"},
    )
    def asset(
        texts: dg.ResourceParam[TextSource],
        subject: dg.ResourceParam[SubjectSource],
        progress: dg.ResourceParam[Progress],
    ) -> dg.MaterializeResult:
        from neuroscribe.capture.rules import FOLDED
        from neuroscribe.capture.stage import corpus_hash
        from neuroscribe.report.pictures import corpus_preview
        from neuroscribe.text.corpus import TokenBytes, check_documents, tokenised

        tokenizer = subject.tokenizer(study.subject, progress=progress)
        source = texts.open(study.corpus, progress=progress)
        made = tokenised(source.documents(), tokenizer, study.corpus)
        check_documents(made)
        preview = corpus_preview(made.sequences, TokenBytes(made.sequences, made.vocabulary))
        return dg.MaterializeResult(
            value={"corpus/sequences": made.sequences, "corpus/vocabulary": made.vocabulary},
            metadata={
                "sequences": len(made.sequences),
                "tokens": len(made.sequences) * study.corpus.sequence_length,
                "documents_read": made.documents,
                "documents_left_out_as_copies": made.copied_documents,
                "documents_tokenised": made.tokenised,
                "documents_too_short": made.too_short,
                "documents_in_corpus": made.sequences["document_id"].n_unique(),
                "documents_held_out": made.sequences.filter("held_out")["document_id"].n_unique(),
                FOLDED: made.folded,
                "text_revision": source.revision,
                "sequences_sha256": corpus_hash(made.sequences),
                "preview": dg.MetadataValue.md(preview),
            },
        )

    return asset
