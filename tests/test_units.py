"""The whole graph on neurons of another kind: dimensions of the planted subject's residual stream.

A token's embedding is +1 and -1 in the two dimensions of its group; a neuron that writes a group adds +3 and
-3 there. So every value can be told by hand, and the two dimensions of a group differ by their sign alone.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
import torch

from assets.stage import key
from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from neuroscribe.ablate.divergence import jensen_shannon
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.testing.planted import BODY, FRUIT, GROUPS, PLANTED, TOOLS, PlantedScript, planted_subject
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from resources.models.subject import SubjectModels
from resources.store.tables import Tables
from tests.residual_dimensions import KINDS, RESIDUAL

pytestmark = pytest.mark.slow

LAYER, WIDTH = 1, 32
SECTIONS = """
[capture]
polarities = "both"
[scorers.ablation]
simulators = ["all_at_once"]
[scoring]
bootstrap_samples = 50
max_unscored_share = 0.9
[sample]
layers = [1]
polarity = "stronger"
"""


@dataclass
class Run:
    """One finished run."""

    study: Study
    tables: Tables
    instance: dg.DagsterInstance
    stream: torch.Tensor
    """The residual stream [sequence, token, dimension] behind the layer, computed block by block."""

    def read(self, table: str, **wanted: Any) -> pl.DataFrame:
        return self.tables.read("planted", table).filter(**wanted)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("residual")
    with ScriptedServer(PlantedScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        path = write_planted_study(folder, base_url=server.base_url)
        size = f'neurons_per_layer = {WIDTH}\nunits = "{RESIDUAL}"'
        text = path.read_text(encoding="utf-8").replace("neurons_per_layer = 16", size)
        path.write_text(text + SECTIONS, encoding="utf-8")
        study = read_study(path)
        environment = Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})
        subject = SubjectModels(device="cpu", hub=False, unit_kinds=KINDS)
        defs = build_defs([study], environment=environment, resource_overrides={"subject": subject})
        launcher = Launcher(study, defs, instance, environment)
        launcher.capture()
        launcher.sample([LAYER])
        launcher.explain(LAYER)
        launcher.publish()
        tables = Tables(environment.store)
        yield Run(study, tables, instance, residual_stream(tables.read("planted", "corpus/sequences")))


def residual_stream(sequences: pl.DataFrame) -> torch.Tensor:
    model: Any = planted_subject()
    ids = torch.tensor(sequences["token_ids"].to_list())
    with torch.no_grad():
        stream = model.transformer.wte(ids) + model.transformer.wpe.weight[: ids.shape[1]]
        for block in model.transformer.h[: LAYER + 1]:
            stream = block(stream)
    return stream


def dimension(group: str, *, sign: int = 1) -> int:
    """Return the dimension in which tokens of a group are above 0, or below it."""
    return 2 * list(GROUPS).index(group) + (sign < 0)


def test_values_are_those_worked_by_hand(run: Run) -> None:
    # Tools read in layer 1 write parts of the body: half of their activation, 6, beside the token's own 1
    for sign, column in ((1, "max"), (-1, "min")):
        found = run.read("activations/statistics", layer=LAYER, neuron=dimension(BODY, sign=sign))
        assert found[column].to_list() == [pytest.approx(3 * sign, abs=1e-4)]
        found = run.read("activations/statistics", layer=LAYER, neuron=dimension(TOOLS, sign=sign))
        assert found[column].to_list() == [pytest.approx(sign, abs=1e-4)]


def test_statistics_are_those_of_the_residual_stream(run: Run) -> None:
    values = run.stream.flatten(0, 1).double()
    table = run.read("activations/statistics", layer=LAYER)
    assert table["neuron"].to_list() == list(range(WIDTH))
    wanted = {
        "mean": values.mean(0),
        "variance": values.var(0, correction=0),
        "min": values.amin(0),
        "max": values.amax(0),
        "fraction_positive": (values > 0).double().mean(0),
    }
    for name, numbers in wanted.items():
        assert table[name].to_list() == pytest.approx(numbers.tolist(), rel=1e-5, abs=1e-6), name
    assert table.filter("dead")["neuron"].to_list() == (values == 0).all(0).nonzero().flatten().tolist()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("group", [BODY, TOOLS])
def test_exemplars_are_the_sequences_where_the_dimension_peaks(run: Run, group: str, sign: int) -> None:
    own = dimension(group, sign=sign)
    values = sign * run.stream[:, :, own]
    records = run.read("neuron_records", layer=LAYER, neuron=own, polarity=sign)
    for row in records.iter_rows(named=True):
        shown = values[row["sequence_id"]]
        assert row["activations"] == pytest.approx((sign * shown).tolist(), abs=1e-5)
        assert row["peak"] == pytest.approx(sign * shown.max().item(), abs=1e-5)
    top = records.filter(kind="top").sort("rank")
    peaks = values.amax(1).sort(descending=True).values
    assert (sign * top["peak"]).to_list() == pytest.approx(peaks[: len(top)].tolist(), abs=1e-5)
    assert len(top) == run.study.capture.top_k


def test_both_sides_are_explained_by_the_tokens_on_which_they_fire(run: Run) -> None:
    told = run.read("explanations", layer=LAYER, explainer="token_pairs", neuron=dimension(FRUIT))
    assert told.select("polarity", "text").rows() == [(1, FRUIT)]
    told = run.read("explanations", layer=LAYER, explainer="token_pairs", neuron=dimension(FRUIT, sign=-1))
    assert told.select("polarity", "text").rows() == [(-1, FRUIT)]


def test_an_ablation_moves_the_predictions_as_a_replaced_dimension_does(run: Run) -> None:
    model: Any = planted_subject()
    sampled = run.read("sampled_activations", layer=LAYER)
    table = run.read("ablations").filter(pl.col("mean_divergence") > 0)
    moved = 0
    each = table.unique(["neuron", "sequence_id"], maintain_order=True)
    for row in each.sort("mean_divergence", descending=True).head(20).iter_rows(named=True):
        own, sign = row["neuron"], row["polarity"]
        values = sampled.filter(neuron=own)["activations"].explode().to_numpy().astype(np.float64)
        mean = float((sign * values).clip(min=0).mean())
        clean = run.stream[row["sequence_id"]]
        changed = clean.clone()
        changed[:, own] = sign * (mean + (sign * clean[:, own]).clamp(max=0))
        with torch.no_grad():
            one, other = (
                model.lm_head(model.transformer.ln_f(stream)).double().log_softmax(-1)
                for stream in (clean, changed)
            )
        wanted = float(jensen_shannon(one, other).mean())
        assert row["mean_divergence"] == pytest.approx(wanted, rel=1e-3, abs=1e-9)
        moved += wanted > 1e-4
    assert moved >= 10


def test_a_right_explanation_avoids_what_the_ablation_does(run: Run) -> None:
    right = {own.explanation for own in PLANTED.values()}
    texts = run.read("explanations", explainer="token_pairs").select("explanation_id", "text")
    scores = run.read("scores", scorer="ablation_all_at_once", split="test", regime="top_and_random")
    rows = scores.filter("chosen").join(texts, on="explanation_id").filter(pl.col("text").is_in(list(right)))
    fruit = rows.filter(pl.col("neuron") // 2 == dimension(FRUIT) // 2)
    assert sorted(fruit["neuron"]) == [dimension(FRUIT), dimension(FRUIT, sign=-1)]
    assert fruit["value"].min() > 0.8


def test_such_units_have_no_connections_and_the_asset_says_why(run: Run) -> None:
    assert run.read("connections").is_empty()
    event = run.instance.get_latest_materialization_event(key(run.study, "connections"))
    assert event is not None
    assert event.asset_materialization is not None
    refused = event.asset_materialization.metadata["refused"].value
    assert "have no weights of their own" in str(refused)


def test_the_dataset_says_what_its_neurons_are(run: Run) -> None:
    dataset = Path(str(run.tables.path("planted", "corpus/sequences"))).parents[1] / "neuron_dataset"
    card = (dataset / "README.md").read_text(encoding="utf-8")
    assert f"- **neuron**: {KINDS[RESIDUAL].sentence}" in card
    assert MLP_NEURONS.sentence not in card
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["provenance"]["units"] == manifest["study"]["settings"]["subject"]["units"] == RESIDUAL
    stored = pl.read_parquet_metadata(dataset / "data/scores/layer_01.parquet")
    assert stored["neuroscribe.units"] == RESIDUAL
