"""Frames of layers on their way into the store: one after the other, each once, by one run at a time."""

import subprocess
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from neuroscribe.errors import StoreError
from neuroscribe.ports.frames import MadeLayer, MadeLayers
from neuroscribe.tables.parquet import provenance_of
from tests.resources.store.lookup_rows import lookup
from tests.resources.store.test_tables import ALL, LAYERS, files_below, run


def layered(*frames: MadeLayer | Exception) -> Any:
    """An asset that yields these layers one after the other, or breaks off where an error stands."""

    @dg.asset(
        key_prefix="tiny",
        partitions_def=LAYERS,
        metadata={"neuroscribe/tables": ["token_lookup"]},
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def token_lookup() -> dg.MaterializeResult[Any]:
        return dg.MaterializeResult(value=MadeLayers(made()))

    def made() -> Iterator[MadeLayer]:
        for frame in frames:
            if isinstance(frame, Exception):
                raise frame
            yield frame

    return token_lookup


def test_a_layer_s_own_provenance_adds_to_that_of_its_stage(tmp_path: Path):
    run(
        [layered(MadeLayer("layer_00", lookup(0), {"corpus": "abc"}))],
        str(tmp_path),
        partition_key="layer_00",
    )
    data = (tmp_path / "tiny/token_lookup/layer_00.parquet").read_bytes()
    assert provenance_of(BytesIO(data))["corpus"] == "abc"


def test_each_layer_is_stored_before_the_next_is_made(tmp_path: Path):
    seen: list[list[str]] = []

    class Watched(MadeLayers):
        def __iter__(self) -> Iterator[MadeLayer]:
            for made in super().__iter__():
                seen.append(files_below(tmp_path))
                yield made

    @dg.asset(
        key_prefix="tiny",
        partitions_def=LAYERS,
        metadata={"neuroscribe/tables": ["token_lookup"]},
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def token_lookup(context: dg.AssetExecutionContext) -> Any:
        return Watched(MadeLayer(key, lookup(int(key[-2:]))) for key in context.partition_keys)

    run([token_lookup], str(tmp_path), tags=ALL)
    assert [len(files) for files in seen] == [0, 1, 2]


def test_layers_that_were_made_before_a_failure_are_stored(tmp_path: Path):
    broken = layered(MadeLayer("layer_00", lookup(0)), ValueError("lost"))
    with pytest.raises(ValueError, match="lost"):
        run([broken], str(tmp_path), tags=ALL)
    assert files_below(tmp_path) == ["tiny/token_lookup/layer_00.parquet"]


def test_layers_that_the_run_does_not_cover_or_that_are_absent_are_named(tmp_path: Path):
    first = MadeLayer("layer_00", lookup(0))
    with pytest.raises(StoreError, match=r"made layer_00, which this run does not cover.*each of layer_01"):
        run([layered(first)], str(tmp_path), partition_key="layer_01")
    with pytest.raises(StoreError, match="made layer_00, which this run does not cover, or made it twice"):
        run([layered(first, first)], str(tmp_path), tags=ALL)
    with pytest.raises(StoreError, match="did not make layer_01, layer_02, which this run covers"):
        run([layered(first)], str(tmp_path), tags=ALL)


def test_two_runs_never_make_the_same_layer_of_an_asset_at_once(tmp_path: Path):
    @dg.asset(key_prefix="tiny", partitions_def=LAYERS, metadata={"neuroscribe/tables": ["token_lookup"]})
    def token_lookup() -> Any:
        return MadeLayers(made())

    refused: list[str] = []

    def made() -> Iterator[MadeLayer]:
        other = subprocess.run(
            [sys.executable, "-c", WRITING, str(tmp_path)], capture_output=True, text=True, check=False
        )
        refused.append(other.stdout)
        yield MadeLayer("layer_00", lookup(0))

    run([token_lookup], str(tmp_path), partition_key="layer_00")
    (told,) = refused
    assert "layer_00 refused: study tiny.token_lookup.layer_00 is being run from" in told
    assert "layer_01 written" in told


WRITING = """
import sys
from neuroscribe.errors import StudyError
from resources.store.study_locks import writing
for layer in ("layer_00", "layer_01"):
    try:
        with writing(sys.argv[1], ["tiny", "token_lookup"], [layer]):
            print(layer, "written")
    except StudyError as error:
        print(layer, "refused:", error)
"""


def test_equal_rows_give_equal_data_versions_of_an_asset(tmp_path: Path):
    def version(frame: pl.DataFrame) -> str:
        asset = layered(MadeLayer("layer_00", frame))
        (event,) = run([asset], str(tmp_path), partition_key="layer_00").asset_materializations_for_node(
            "tiny__token_lookup"
        )
        return event.tags["dagster/data_version"]

    first = version(lookup(0))
    assert first == provenance_of(BytesIO((tmp_path / files_below(tmp_path)[0]).read_bytes()))["content"]
    assert version(lookup(0)) == first
    assert version(lookup(0, rows=3)) != first
