"""Counts beside the tables of simulations."""

from typing import Any

from neuroscribe.report.tallies import llm_calls, simulation_tally
from neuroscribe.tables.records import EXPLANATIONS, SIMULATIONS
from neuroscribe.testing.rows import explanation_row, simulation_row
from neuroscribe.testing.studies import tiny_study

STUDY = tiny_study(
    explainers={"token_pairs": {}, "token_list": {}},
    simulators={
        kind: {"explainers": ["token_pairs", "token_list"]}
        for kind in ("matching_words", "one_at_a_time", "embedding")
    },
)


def explanation(name: str, text: str, model: str) -> dict[str, Any]:
    return explanation_row(1, explanation_id=name, text=text, model=model)


def simulation(
    name: str, simulator: str, sequence: int, *, status: str = "ok", unmatched: int | None = None
) -> dict[str, Any]:
    given = {"simulator": simulator, "status": status, "unmatched_words": unmatched}
    return simulation_row(name, 1, sequence, [0.0, 10.0, 0.0], **given)


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
