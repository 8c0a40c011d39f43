"""What a study will probably show and read, before there is any: stands in where a plan knows no better."""

from typing import Any

import polars as pl

from neuroscribe.explain.evidence import LayerEvidence
from neuroscribe.explain.explainers import Question, listed_tokens, questions
from neuroscribe.study.explainers import AskingSpec, ExplainerSpec, Showing, TokenList, TokenSummary
from neuroscribe.study.spec import Study

TEXT = "words about a subject, and the words that often stand before or after them"
"""An explanation of usual length."""
TOKEN = b" token"
_FIRING = 0.3
"""Share of the tokens around a peak on which a neuron fires."""
_PROMOTED = 10


def likely_question(study: Study, spec: AskingSpec) -> Question:
    """Return a question of the length that the explainer's questions have."""
    return questions(_evidence(study, spec), spec)[0]


def likely_explanations(evidence: LayerEvidence, name: str, spec: ExplainerSpec) -> pl.DataFrame:
    """Return explanations such as an explainer will give: one that says something else for every question.

    Those that need no LLM are given as they are.
    """
    if isinstance(spec, TokenList):
        rows = [listed_tokens(evidence, neuron, name, spec) for neuron in evidence.neurons]
    else:
        own = questions(evidence, spec)
        rows = [_answered(name, question) for question in own if question.messages]
    return pl.DataFrame([{column: row[column] for column in _EXPLANATIONS} for row in rows], _EXPLANATIONS)


def _answered(name: str, question: Question) -> dict[str, Any]:
    neuron, index = question.neuron, question.sample_index
    return {
        "explanation_id": f"{name} {neuron} {index}",
        "neuron": neuron[0],
        "polarity": neuron[1],
        "text": f"{TEXT} {name} {neuron} {index}",
        "status": "ok",
        "explainer": name,
        "sample_index": index,
        "sequence_ids": list(question.sequence_ids),
    }


_EXPLANATIONS = {
    "explanation_id": pl.String(),
    "neuron": pl.Int32(),
    "polarity": pl.Int8(),
    "text": pl.String(),
    "status": pl.String(),
    "explainer": pl.String(),
    "sample_index": pl.Int32(),
    "sequence_ids": pl.List(pl.UInt32()),
}


def _evidence(study: Study, spec: AskingSpec) -> LayerEvidence:
    """Return what one neuron with enough of everything would show."""
    length = study.corpus.sequence_length
    shown = spec.excerpts if isinstance(spec, Showing) else 1
    ranks = spec.among if isinstance(spec, TokenSummary) else 1
    firing = max(1, round(_FIRING * length))
    activations = [1.0] * firing + [0.0] * (length - firing)
    records = pl.DataFrame(
        {
            "neuron": [0] * shown, "polarity": [1] * shown, "kind": ["top"] * shown,
            "split": ["train"] * shown, "rank": range(shown), "sequence_id": range(shown),
            "peak": [1.0] * shown, "peak_position": [0] * shown, "activations": [activations] * shown,
        }
    )  # fmt: skip
    occurrences = spec.occurrences if isinstance(spec, TokenSummary) else 1
    lookup = pl.DataFrame(
        {
            "neuron": [0] * ranks, "polarity": [1] * ranks, "mean": [1.0] * ranks,
            "count": [occurrences] * ranks, "token_id": range(ranks),
        }
    )  # fmt: skip
    promoted = pl.DataFrame(
        {
            "neuron": [0] * _PROMOTED, "direction": ["output_token"] * _PROMOTED, "sign": [1] * _PROMOTED,
            "rank": range(_PROMOTED), "token_id": range(_PROMOTED),
        }
    )  # fmt: skip
    # Tokens that are alike would be listed once.
    spelled = [TOKEN[:-3] + f"{token:03}".encode() for token in range(max(ranks, _PROMOTED))]
    vocabulary = pl.DataFrame({"bytes": spelled})
    tokens = dict.fromkeys(range(shown), (TOKEN,) * length)
    return LayerEvidence(0, ((0, 1),), records, lookup, promoted, tokens, vocabulary)
