"""A study with a `stop_width` simulates draws until the interval of the score is narrow."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from neuroscribe.evidence.drawn import STRATA
from neuroscribe.measures.agreement import correlations
from neuroscribe.measures.draws import Draws
from neuroscribe.testing.stores import Interrupted, MemoryCalls, SilentProgress
from tests.neuroscribe.score.known_layer import Layer, Reading, explained, known_study, only, truth, unseen

WIDTH = 0.2
SCORING = {"stop_width": WIDTH, "sequences": 60}
SURE, UNSURE, HOPELESS = (
    explained(neuron, f"{neuron} {noise}") for neuron, noise in ((1, 0.0), (1, 2.5), (1, 40))
)


def layer(*rows: dict[str, object], width: float | None = WIDTH, per_call: int = 1) -> Layer:
    simulator = Reading()
    simulator.sequences_per_call = per_call
    study = known_study(scoring=SCORING | {"stop_width": width})
    return Layer(rows, study, {"all_at_once": simulator})


def asked(own: Layer) -> list[tuple[str, int]]:
    simulator = own.simulators["all_at_once"]
    assert isinstance(simulator, Reading)
    return simulator.asked


def width(rows: pl.DataFrame) -> float:
    """The width of the interval of the score that these draws give."""
    truths = truth(1)[rows["sequence_id"].to_list()]
    strata = np.array([[STRATA.index(name) for name in rows["stratum"]]])
    draws = Draws(strata, rows["stratum_size"].to_numpy()[None].astype(float))
    (found,) = correlations(truths[None], np.array(rows["simulated"].to_list())[None], draws)
    assert found.ci_low is not None
    assert found.ci_high is not None
    return found.ci_high - found.ci_low


def in_order(own: Layer) -> list[int]:
    """All draws, the paper's exemplars among them first."""
    evidence, row = own.evidence(), own.explanations[0]
    shown = evidence.paper_exemplars(row, "test").sequence_ids
    ids = evidence.population(row, "test").sequence_ids[evidence.draws(row, "test").places].tolist()
    return [*(sequence for sequence in shown if sequence in ids), *(own for own in ids if own not in shown)]


def drawn(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.drop_nulls("stratum")


def test_a_sure_score_takes_ten_draws_spread_over_all_strata() -> None:
    own = layer(SURE)
    rows = drawn(own.simulated())
    assert rows["sequence_id"].to_list() == in_order(own)[:10]
    assert set(rows["stratum"]) == {"top", "high", "middle", "low"}
    assert width(rows) < WIDTH


def test_an_unsure_one_takes_more_until_its_interval_is_narrow_enough() -> None:
    own = layer(UNSURE)
    rows = drawn(own.simulated())
    assert 10 < len(rows) < 60
    assert rows["sequence_id"].to_list() == in_order(own)[: len(rows)]
    assert width(rows) < WIDTH <= width(rows[:-2])


def test_one_that_never_gets_narrow_takes_all() -> None:
    own = layer(HOPELESS, width=0.01)
    assert drawn(own.simulated())["sequence_id"].to_list() == in_order(own)
    assert len(in_order(own)) == 60


def test_without_a_width_all_draws_are_simulated() -> None:
    own = layer(SURE, width=None)
    assert drawn(own.simulated())["sequence_id"].to_list() == in_order(own)


def test_the_papers_exemplars_and_controls_are_simulated_whatever_is_stopped() -> None:
    own = layer(SURE, explained(2, "2 0.0"))
    rows, evidence = own.simulated(), own.evidence()
    for row in own.explanations:
        shown = evidence.paper_exemplars(row, "test").sequence_ids
        mine = rows.filter(explanation_id=row["explanation_id"], neuron=row["neuron"])
        assert set(shown) <= set(mine["sequence_id"])
        others = rows.filter(pl.col("explanation_id") != row["explanation_id"], neuron=row["neuron"])
        assert others["sequence_id"].to_list() == list(evidence.control_exemplars(row).sequence_ids)


def test_a_stopped_score_says_on_how_many_sequences_it_rests_and_stands_for_the_same_population() -> None:
    own = layer(UNSURE)
    rows = own.simulated()
    score = only(own.scores(rows), "e10")
    taken = drawn(rows)
    assert (score["n_sequences"], score["n_tokens"]) == (len(taken), 4 * len(taken))
    assert score["ci_high"] - score["ci_low"] == pytest.approx(width(taken))
    sizes = taken.group_by("stratum").agg(pl.col("stratum_size").first())["stratum_size"].sum()
    assert sizes == len(unseen(UNSURE))


@pytest.mark.parametrize("per_call", [1, 3])
def test_a_killed_run_reads_the_same_sequences_and_asks_only_for_what_is_missing(per_call: int) -> None:
    rows = (UNSURE, explained(2, "2 1.0"))
    whole = layer(*rows, per_call=per_call).simulated()
    calls, own = MemoryCalls(), layer(*rows, per_call=per_call)
    with pytest.raises(Interrupted):
        own.simulated(calls, SilentProgress(fail_at=9))
    before = len(asked(own))
    continued = replace(own)
    assert continued.simulated(calls).equals(whole)
    assert before < len(asked(own)) <= len(whole) + 3 * per_call


def test_what_was_spared_counts_as_done_and_is_noted() -> None:
    progress = SilentProgress()
    rows = layer(SURE).simulated(progress=progress)
    label = "simulate s with all_at_once"
    assert progress.done[label] == progress.totals[label] > len(rows)
    assert "stopped early" in progress.notes
