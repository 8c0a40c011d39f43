"""The tables of a small study, as a report is made of them: hand-checkable numbers of six neurons."""

from dataclasses import replace
from typing import Any

import polars as pl

from neuroscribe.kinds import KnownStudy
from neuroscribe.report.summary import Results
from neuroscribe.study.stages import TABLES
from neuroscribe.testing.rows import explanation_row, filled

STUDY = KnownStudy.model_validate(
    {
        "name": "toy",
        "description": "a toy",
        "subject": {"model": "toy/subject", "layers": 4, "neurons_per_layer": 3},
        "corpus": {"artefact": "toy-text", "sequences": 2, "sequence_length": 3},
        "llm": {"model": "toy/llm"},
        "explainers": {"token_pairs": {}, "token_list": {}},
        "simulators": {
            "all_at_once": {"explainers": ["token_pairs"]},
            "embedding": {"explainers": ["token_pairs", "token_list"]},
        },
        "scoring": {"decides": "all_at_once"},
    }
)
MAIN, SECOND = "correlation_all_at_once", "correlation_embedding"


def table(name: str, *rows: dict[str, Any]) -> pl.DataFrame:
    return filled(TABLES[name], *rows)


def explained(name: str, layer: int, neuron: int, **given: Any) -> dict[str, Any]:
    texts = {"explanation_id": name, "text": f"text of {name}"}
    usage = {"prompt_tokens": 100, "completion_tokens": 10}
    return explanation_row(neuron, **texts | usage | {"layer": layer} | given)


def scored(name: str, layer: int, neuron: int, value: float | None, **given: Any) -> dict[str, Any]:
    place = {"explanation_id": name, "layer": layer, "neuron": neuron, "scorer": MAIN, "chosen": True}
    return place | {"value": value} | given


def described(name: str | None, layer: int, neuron: int, score: float | None, **given: Any) -> dict[str, Any]:
    text = {"explanation_id": name, "text": name and f"text of {name}", "explainer": name and "token_pairs"}
    place = {"layer": layer, "neuron": neuron, "scorer": MAIN, "by_llm": name and True}
    return place | text | {"score": score, "status": "explained", "why": "the only text"} | given


def results() -> Results:
    """Layer 0: two neurons scored. Layer 1: captured alone. Layer 3: one scored, one refused."""
    return Results(
        statistics=table(
            "activations/statistics",
            *(
                {"layer": layer, "neuron": n, "dead": layer == 3 and n == 2, "max": 1.0 - (n == 2)}
                | {"near_dead": layer == 0 and n == 1}
                for layer in (0, 1, 3)
                for n in range(3)
            ),
        ),
        records=table(
            "neuron_records",
            *(
                {"layer": layer, "neuron": 0, "polarity": 1, "kind": "top", "rank": rank, "sequence_id": rank}
                | {"peak": 4.0 - rank, "peak_position": 1}
                for layer in (0, 3)
                for rank in (0, 1)
            ),
        ),
        explanations=table(
            "explanations",
            explained("a", 0, 0, text="words about <b>rain</b>\n\u202ebackwards"),
            explained("b", 0, 1),
            explained("c", 3, 0),
            explained("d", 3, 1, status="refused", text=None),
            explained("e", 3, 0, explainer="token_list", prompt_tokens=0, completion_tokens=0),
        ),
        scores=table(
            "scores",
            scored("a", 0, 0, 0.2, ceiling=0.5, control=0.1, ci_low=-0.1, ci_high=0.4),
            scored("b", 0, 1, 0.6, ceiling=0.7, control=0.0),
            scored("c", 3, 0, 0.9, ceiling=0.8, control=None),
            scored("d", 3, 1, None, null_reason="explanation refused", ceiling=0.4),
            scored("c", 3, 0, -1.0, split="valid"),
            scored("c", 3, 0, -1.0, chosen=False),
            scored("c", 3, 0, 0.1, regime="random_only"),
            scored("c", 3, 0, 0.3, scorer=SECOND),
            scored("e", 3, 0, 0.4, scorer=SECOND, explainer="token_list"),
        ),
        descriptions=table(
            "descriptions",
            described(
                "a",
                0,
                0,
                0.2,
                ceiling=0.5,
                control=0.1,
                ci_low=-0.1,
                ci_high=0.4,
                status="poorly explained",
                text="words about <b>rain</b>\n\u202ebackwards",
            ),
            described("b", 0, 1, 0.6, ceiling=0.7, control=0.0),
            described("c", 3, 0, 0.9, ceiling=0.8),
            described(
                None, 3, 1, None, status="not explained", why="no explainer that describes gave a text"
            ),
        ),
        sequences=table(
            "corpus/sequences",
            {"sequence_id": 0, "token_ids": [0, 1, 2]},
            {"sequence_id": 1, "token_ids": [2, 3, 2]},
        ),
        vocabulary=table(
            "corpus/vocabulary",
            *(
                {"token_id": n, "bytes": token}
                for n, token in enumerate([b"The", b" rain", b" fell", b"\n<i>"])
            ),
        ),
    )


def with_more(found: Results, *more: dict[str, Any]) -> Results:
    """Results with further descriptions."""
    return replace(found, descriptions=pl.concat([found.descriptions, table("descriptions", *more)]))
