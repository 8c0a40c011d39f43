"""What Dagster is told of layers: facts and a data version of each, also of those made before a failure."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest
from dagster._core.definitions.assets.graph.asset_graph_subset import AssetGraphSubset
from dagster._core.definitions.events import AssetKeyPartitionKey
from dagster._core.execution.asset_backfill import AssetBackfillData
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from assets.layers import OfLayer, by_layer, plain_failures, rounded
from assets.partitions import TOGETHER, layers_of_backfill, selected_layers
from resources.store.tables import TableIO, Tables
from tests.resources.store.lookup_rows import lookup

LAYERS = dg.StaticPartitionsDefinition([f"layer_{layer:02}" for layer in range(4)])
KEY = dg.AssetKey(["tiny", "token_lookup"])


def over(first: int, last: int) -> dict[str, str]:
    names = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    return dict(zip(names, (f"layer_{first:02}", f"layer_{last:02}"), strict=True))


def made(rows: Callable[[int], int], *, broken: int = 99) -> dg.AssetsDefinition:
    """An asset with so many rows in each layer, which breaks at one."""

    def token_lookup(context: dg.AssetExecutionContext) -> Iterator[OfLayer]:
        for layer in selected_layers(context):
            if layer == broken:
                raise ValueError("lost")
            yield OfLayer(layer, lookup(layer, rows=rows(layer)), {"layer": layer, "mean": 1 / 3})

    return dg.asset(
        key=KEY,
        partitions_def=LAYERS,
        metadata={"neuroscribe/tables": ["token_lookup"]},
        backfill_policy=dg.BackfillPolicy.single_run(),
        code_version="1",
    )(by_layer(token_lookup, partial(plain_failures), {"said": "of all"}))


class Place:
    """A store and an instance."""

    def __init__(self, root: Path, instance: dg.DagsterInstance) -> None:
        self.root, self.instance = str(root), instance

    def run(self, asset: dg.AssetsDefinition, **tags: str) -> bool:
        resources = {"io_manager": TableIO(root=self.root)}
        return dg.materialize(
            [asset], resources=resources, instance=self.instance, tags=tags, raise_on_error=False
        ).success

    def latest(self, layer: int) -> dg.AssetMaterialization | None:
        wanted = dg.AssetRecordsFilter(asset_key=KEY, asset_partitions=[f"layer_{layer:02}"])
        records = self.instance.fetch_materializations(wanted, limit=1).records
        return records[0].asset_materialization if records else None

    def version(self, layer: int) -> str:
        event = self.latest(layer)
        assert event is not None
        assert event.tags is not None
        return event.tags["dagster/data_version"]

    def content(self, layer: int) -> str:
        stamp = Tables(self.root).stamp("tiny", "token_lookup", layer)
        assert stamp is not None
        return stamp.content


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Place(tmp_path, instance)


def test_each_layer_of_a_range_has_the_hash_of_its_own_rows_as_its_data_version(place: Place) -> None:
    assert place.run(made(lambda layer: layer + 1), **over(0, 2))
    versions = [place.version(layer) for layer in range(3)]
    assert versions == [place.content(layer) for layer in range(3)]
    assert len(set(versions)) == 3


def test_a_layer_with_equal_rows_keeps_its_version_whatever_run_makes_it(place: Place) -> None:
    assert place.run(made(lambda layer: layer + 1), **over(0, 2))
    before = [place.version(layer) for layer in range(3)]
    assert place.run(made(lambda layer: 9 if layer == 2 else layer + 1), **over(1, 2))
    assert place.run(made(lambda layer: layer + 1), **{"dagster/partition": "layer_00"})
    after = [place.version(layer) for layer in range(3)]
    assert after[:2] == before[:2]
    assert after[2] != before[2]


def test_each_layer_of_a_range_shows_its_own_facts_beside_what_is_said_of_all(place: Place) -> None:
    assert place.run(made(lambda layer: layer + 1), **over(0, 2))
    for layer in range(3):
        event = place.latest(layer)
        assert event is not None
        shown = {name: value.value for name, value in event.metadata.items()}
        assert (shown["layer"], shown["mean"], shown["said"]) == (layer, 0.333, "of all")
        assert shown["dagster/partition_row_count"] == layer + 1
        assert event.tags is not None
        assert event.tags["dagster/code_version"] == "1"


def test_layers_that_were_made_before_a_failure_are_known_and_the_others_are_not(place: Place) -> None:
    assert not place.run(made(lambda _: 2, broken=2), **over(0, 3))
    assert [place.latest(layer) is not None for layer in range(4)] == [True, True, False, False]
    assert place.version(1) == place.content(1)
    event = place.latest(1)
    assert event is not None
    assert event.metadata["layer"].value == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1 / 3, 0.333),
        (0.000123456, 0.000123),
        (99.97, 100.0),
        (451.36, 451.0),
        (12345.6, 12346.0),
        (7, 7),
        ("x", "x"),
    ],
)
def test_a_number_has_three_digits_or_no_decimals(value: Any, shown: Any) -> None:
    assert rounded(value) == shown
    assert str(rounded(float("nan"))) == "nan"


def asked(place: Place, **tags: str) -> list[int]:
    """The layers that a run takes for those that it is launched together with."""
    found: list[list[int]] = []

    def token_lookup(context: dg.AssetExecutionContext) -> Iterator[OfLayer]:
        found.append(layers_of_backfill(context))
        yield from (OfLayer(layer, lookup(layer), {}) for layer in selected_layers(context))

    asset = dg.asset(
        key=KEY,
        partitions_def=LAYERS,
        metadata={"neuroscribe/tables": ["token_lookup"]},
        backfill_policy=dg.BackfillPolicy.single_run(),
    )(by_layer(token_lookup, partial(plain_failures), {}))
    wanted = {AssetKeyPartitionKey(KEY, name) for name in ("layer_00", "layer_02", "layer_03")}
    graph = dg.Definitions(assets=[asset]).resolve_asset_graph()
    data = AssetBackfillData.empty(
        AssetGraphSubset.from_asset_partition_set(wanted, graph), 0.0, dynamic_partitions_store=place.instance
    )
    place.instance.add_backfill(
        PartitionBackfill(
            backfill_id="scattered",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=0.0,
            asset_selection=[KEY],
            asset_backfill_data=data,
        )
    )
    assert place.run(asset, **over(2, 3), **tags)
    return found[0]


def test_a_run_of_a_backfill_knows_all_layers_that_are_asked_for_and_another_run_none(place: Place) -> None:
    assert asked(place, **{"dagster/backfill": "scattered"}) == [0, 2, 3]


def test_a_run_that_was_launched_for_several_spans_knows_all_layers_by_its_tag(place: Place) -> None:
    assert asked(place, **{TOGETHER: "0,2,3"}) == [0, 2, 3]


def test_a_run_by_itself_is_launched_together_with_no_other(place: Place) -> None:
    assert asked(place) == []


def test_the_frame_that_is_stored_is_the_one_that_was_made(place: Place) -> None:
    assert place.run(made(lambda layer: layer + 1), **over(0, 1))
    stored: pl.DataFrame = Tables(place.root).read("tiny", "token_lookup", 1)
    assert stored.equals(lookup(1, rows=2))
