"""Before a capture a plan takes likely neurons for all, and of a dear simulator those that it reads."""

from typing import Any

import pytest

from neuroscribe.report.plan import layer_plan
from neuroscribe.report.planned_calls import Asked, Found
from neuroscribe.testing.studies import tiny_study

NEURONS = 64


def planned(simulators: dict[str, Any], layer: int) -> dict[str, int]:
    """The calls of a layer of which nothing is known, by stage and name."""
    study = tiny_study(
        subject={"layers": 2, "neurons_per_layer": NEURONS},
        explainers={"x": {"kind": "token_pairs"}},
        simulators={"first": {"kind": "all_at_once", "explainers": ["x"]}, **simulators},
        llm={"provider": "openai"},
    )
    free = Asked(lambda _: 0.0)
    rows = layer_plan(study, layer, Found(), explaining=free, simulating=free).iter_rows(named=True)
    return {f"{row['stage']} {row['name']}": row["calls"] for row in rows}


@pytest.mark.parametrize("name", ["x", "y"])
def test_a_simulator_that_reads_some_layers_is_asked_nothing_in_others_whatever_its_name(name: str):
    dear = {name: {"kind": "all_at_once", "explainers": ["x"], "layers": [1]}}
    assert planned(dear, 0)[f"simulation {name}"] == 0
    assert planned(dear, 1)[f"simulation {name}"] == planned(dear, 1)["simulation first"] > 0
    assert {planned(dear, layer)["explanation x"] for layer in (0, 1)} == {NEURONS}


def test_a_simulator_of_few_neurons_that_has_an_explainers_name_takes_none_of_its_calls():
    few = {"x": {"kind": "all_at_once", "explainers": ["x"], "neurons_per_layer": 1}}
    assert planned(few, 0)["explanation x"] == NEURONS
    assert 0 < planned(few, 0)["simulation x"] < planned(few, 0)["simulation first"]
