"""Counts beside the tables of simulations."""

from typing import Any

from neuroscribe.ports.replies import Usage
from neuroscribe.report.tallies import llm_calls, simulation_tally
from neuroscribe.study.spec import Study
from neuroscribe.tables.records import EXPLANATIONS, SIMULATIONS

STUDY = Study.model_validate(
    {
        "name": "s",
        "description": "",
        "subject": {"model": "m", "layers": 1, "neurons_per_layer": 8},
        "corpus": {"files": "x", "sequences": 100},
        "llm": {"model": "m"},
        "explainers": {"token_pairs": {}, "token_list": {}},
        "simulators": {
            kind: {"explainers": ["token_pairs", "token_list"]}
            for kind in ("matching_words", "one_at_a_time", "embedding")
        },
    }
)


def explanation(name: str, text: str, model: str) -> dict[str, Any]:
    return {
        "explanation_id": name, "layer": 0, "neuron": 1, "polarity": 1, "text": text, "long_text": None,
        "status": "ok", "explainer": "token_pairs", "model": model, "prompt_sha256": "", "sample_index": 0,
        "sequence_ids": [], "raw_response": "", **Usage().columns(),
    }  # fmt: skip


def simulation(
    name: str, simulator: str, sequence: int, *, status: str = "ok", unmatched: int | None = None
) -> dict[str, Any]:
    return {
        "explanation_id": name, "neuron": 1, "polarity": 1, "sequence_id": sequence, "split": "test",
        "simulated": [0.0, 10.0, 0.0], "valid_fraction": None, "status": status, "unmatched_words": unmatched,
        "simulator": simulator, "model": "m", **Usage().columns(),
    }  # fmt: skip


EXPLAINED = EXPLANATIONS.frame(
    [explanation("a", "rain", "m"), explanation("b", "rain", "none"), explanation("c", "snow", "m")]
)


def test_an_asking_simulator_calls_once_a_text_and_sequence_or_once_a_token() -> None:
    rows = [
        simulation(name, simulator, sequence)
        for simulator in ("matching_words", "one_at_a_time", "embedding")
        for name, sequence in (("a", 5), ("b", 5), ("a", 6), ("c", 5))
    ]

    # two explanations by the model; rain on 5 and 6 and snow on 5 once as words and once for each of 3 tokens
    assert llm_calls(STUDY, EXPLAINED, SIMULATIONS.frame(rows)) == 2 + 3 + 3 * 3
    assert llm_calls(STUDY, EXPLAINED, SIMULATIONS.frame([])) == 2


def test_unreadable_simulations_and_words_that_are_not_there_are_counted() -> None:
    tally = simulation_tally(
        SIMULATIONS.frame(
            [
                simulation("a", "matching_words", 5, unmatched=2),
                simulation("a", "matching_words", 6, unmatched=1),
                simulation("a", "matching_words", 7, status="unparsable"),
                simulation("a", "embedding", 5),
            ]
        )
    )

    assert tally["matching_words/unmatched_words"] == 3
    assert tally["matching_words/status_unparsable"] == 1
    assert tally["matching_words/status_ok"] == 2
    assert "embedding/unmatched_words" not in tally
