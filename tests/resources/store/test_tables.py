import errno
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from neuroscribe.errors import StoreError
from neuroscribe.ports.frames import LayerFrames
from neuroscribe.tables.parquet import provenance_of
from neuroscribe.tables.records import SEQUENCES, TOKEN_LOOKUP, VOCABULARY
from neuroscribe.testing.rows import filled
from resources.store.files import Files
from resources.store.tables import TableIO, Tables
from tests.resources.store.lookup_rows import lookup

LAYERS = dg.StaticPartitionsDefinition(["layer_00", "layer_01", "layer_02"])
ALL = {
    "dagster/asset_partition_range_start": "layer_00",
    "dagster/asset_partition_range_end": "layer_02",
}
HOSTILE = b"<script>\n\xe2\x80\xae\x00\xff"

sequences = filled(SEQUENCES, {"source": "<b>\u202e\n", "token_ids": [1, 2]})
vocabulary = filled(VOCABULARY, {"token_id": 1, "bytes": HOSTILE, "text": "<script>\n\u202e\\x00\\xff"})


@dg.asset(
    key_prefix="tiny",
    metadata={"neuroscribe/tables": ["corpus/sequences", "corpus/vocabulary"]},
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def corpus() -> dict[str, pl.DataFrame]:
    return {"corpus/sequences": sequences, "corpus/vocabulary": vocabulary}


@dg.asset(
    key_prefix="tiny",
    partitions_def=LAYERS,
    metadata={"neuroscribe/tables": ["token_lookup"], "neuroscribe/provenance": {"seed": 7, "dtype": "f00d"}},
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def token_lookup(context: dg.AssetExecutionContext) -> dict[str, pl.DataFrame]:
    return {key: lookup(int(key[-2:]), rows=1 + int(key[-2:])) for key in context.partition_keys}


def run(assets: list[Any], root: str, *, endpoint_url: str | None = None, **given: Any) -> Any:
    resources = {"io_manager": TableIO(root=root, endpoint_url=endpoint_url)}
    return dg.materialize(assets, resources=resources, **given)


def events(result: Any, asset: str) -> dict[str | None, dict[str, Any]]:
    return {
        event.partition: {key: value.value for key, value in event.materialization.metadata.items()}
        for event in result.asset_materializations_for_node(f"tiny__{asset}")
        for event in [_Event(event)]
    }


class _Event:
    def __init__(self, materialization: dg.AssetMaterialization) -> None:
        self.materialization = materialization
        self.partition = materialization.partition


def files_below(root: Path) -> list[str]:
    """Files by path from the root, but for the locks of steps."""
    files = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(name for name in files if not name.startswith(".locks/"))


def test_a_range_run_writes_one_file_per_layer_and_reports_each(tmp_path: Path):
    result = run([token_lookup], str(tmp_path), tags=ALL)
    assert files_below(tmp_path) == [f"tiny/token_lookup/layer_0{n}.parquet" for n in range(3)]
    reported = events(result, "token_lookup")
    assert {key: facts["dagster/partition_row_count"] for key, facts in reported.items()} == {
        "layer_00": 1,
        "layer_01": 2,
        "layer_02": 3,
    }
    path = tmp_path / "tiny/token_lookup/layer_01.parquet"
    assert reported["layer_01"]["bytes"] == path.stat().st_size
    assert reported["layer_01"]["dagster/uri"] == path.as_uri()


def test_a_single_partition_may_come_as_a_dict_of_one(tmp_path: Path):
    result = run([token_lookup], str(tmp_path), partition_key="layer_01")
    assert files_below(tmp_path) == ["tiny/token_lookup/layer_01.parquet"]
    assert events(result, "token_lookup")["layer_01"]["dagster/partition_row_count"] == 2


def test_several_tables_of_one_asset_are_files_of_their_own(tmp_path: Path):
    result = run([corpus], str(tmp_path))
    assert files_below(tmp_path) == ["tiny/corpus/sequences.parquet", "tiny/corpus/vocabulary.parquet"]
    facts = events(result, "corpus")[None]
    assert (facts["corpus/sequences/row_count"], facts["corpus/vocabulary/row_count"]) == (1, 1)


def test_hostile_text_comes_back_byte_for_byte(tmp_path: Path):
    run([corpus], str(tmp_path))
    tables = Tables(str(tmp_path))
    assert tables.read("tiny", "corpus/vocabulary").row(0) == vocabulary.row(0)
    assert tables.read("tiny", "corpus/sequences").row(0) == sequences.row(0)


def test_files_say_where_they_come_from_and_nothing_of_the_time(tmp_path: Path):
    run([token_lookup], str(tmp_path / "first"), partition_key="layer_00")
    run([token_lookup], str(tmp_path / "second"), partition_key="layer_00")
    first, second = (
        (tmp_path / name / "tiny/token_lookup/layer_00.parquet").read_bytes() for name in ("first", "second")
    )
    assert first == second
    stored = provenance_of(BytesIO(first))
    assert {len(stored.pop(name)) for name in ("content", "inputs")} == {32}
    assert len(stored.pop("crc32")) == 8
    assert stored == {
        "dtype": "f00d",
        "key": json.dumps(TOKEN_LOOKUP.key),
        "layer": "0",
        "schema_version": "1",
        "seed": "7",
        "study": "tiny",
        "table": "token_lookup",
    }


def test_a_parameter_annotated_as_a_frame_gets_one_and_every_other_a_mapping(tmp_path: Path):
    seen: dict[str, Any] = {}

    @dg.asset(key_prefix="tiny", partitions_def=LAYERS)
    def one(token_lookup: pl.DataFrame) -> None:
        seen["one"] = token_lookup

    @dg.asset(key_prefix="tiny", partitions_def=LAYERS)
    def many(token_lookup: LayerFrames) -> None:
        seen["many"] = token_lookup

    @dg.asset(key_prefix="tiny", partitions_def=LAYERS)
    def tables(corpus: Any) -> None:
        seen["tables"] = corpus

    run([corpus, token_lookup], str(tmp_path), partition_key="layer_01")
    consumers = [one, many, tables]
    run([corpus, token_lookup, *consumers], str(tmp_path), selection=consumers, partition_key="layer_01")
    assert seen["one"].equals(lookup(1, rows=2))
    assert list(seen["many"]) == ["layer_01"]
    assert list(seen["tables"]) == ["corpus/sequences", "corpus/vocabulary"]


def test_a_frame_cannot_be_had_of_several_layers_or_tables(tmp_path: Path):
    @dg.asset(key_prefix="tiny")
    def report(token_lookup: pl.DataFrame) -> None: ...

    @dg.asset(key_prefix="tiny")
    def words(corpus: pl.DataFrame) -> None: ...

    run([corpus], str(tmp_path))
    run([token_lookup], str(tmp_path), tags=ALL)
    with pytest.raises(StoreError, match=r"token_lookup yields 3 frames .* annotate it LayerFrames"):
        run([token_lookup, report], str(tmp_path), selection=[report])
    with pytest.raises(StoreError, match=r"corpus yields 2 frames .*corpus/vocabulary"):
        run([corpus, words], str(tmp_path), selection=[words])


def test_a_fan_in_reads_all_layers_and_may_skip_absent_ones(tmp_path: Path):
    seen: dict[str, list[str]] = {}

    @dg.asset(key_prefix="tiny")
    def strict(token_lookup: LayerFrames) -> None:
        seen["strict"] = list(token_lookup)

    @dg.asset(
        key_prefix="tiny", ins={"token_lookup": dg.AssetIn(metadata={"allow_missing_partitions": True})}
    )
    def lenient(token_lookup: LayerFrames) -> None:
        seen["lenient"] = list(token_lookup)

    run([token_lookup], str(tmp_path), partition_key="layer_01")
    run([token_lookup, lenient], str(tmp_path), selection=[lenient])
    with pytest.raises(StoreError, match=r"materialise asset tiny/token_lookup for layer_00, layer_02 first"):
        run([token_lookup, strict], str(tmp_path), selection=[strict])
    run([token_lookup], str(tmp_path), tags=ALL)
    run([token_lookup, strict], str(tmp_path), selection=[strict])
    assert seen == {"lenient": ["layer_01"], "strict": ["layer_00", "layer_01", "layer_02"]}


def test_an_absent_table_is_named_with_the_asset_that_makes_it(tmp_path: Path):
    tables = Tables(str(tmp_path))
    with pytest.raises(StoreError, match=r"sequences\.parquet.*materialise asset tiny/corpus first"):
        tables.read("tiny", "corpus/sequences")
    with pytest.raises(StoreError, match=r"layer_04\.parquet.*tiny/token_lookup for layer_04 first"):
        tables.read("tiny", "token_lookup", 4)
    with pytest.raises(StoreError, match="materialise asset tiny/token_lookup first"):
        tables.scan("tiny", "token_lookup")


def test_an_asset_that_wrote_itself_hands_over_nothing(tmp_path: Path):
    @dg.asset(key_prefix="tiny", partitions_def=LAYERS, metadata={"neuroscribe/tables": ["token_lookup"]})
    def token_lookup() -> Any:
        Tables(str(tmp_path)).write(lookup(2), "tiny", "token_lookup", 2, provenance={})

    run([token_lookup], str(tmp_path), partition_key="layer_02")
    assert Tables(str(tmp_path)).read("tiny", "token_lookup", 2).equals(lookup(2))


def test_a_range_run_with_a_layer_too_few_writes_nothing(tmp_path: Path):
    @dg.asset(
        key_prefix="tiny",
        partitions_def=LAYERS,
        metadata={"neuroscribe/tables": ["token_lookup"]},
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def token_lookup() -> dict[str, pl.DataFrame]:
        return {"layer_00": lookup(0), "layer_01": lookup(1)}

    with pytest.raises(
        StoreError, match=r"frames for layer_00, layer_01, but .* layer_00, layer_01, layer_02"
    ):
        run([token_lookup], str(tmp_path), tags=ALL)
    assert files_below(tmp_path) == []


def test_a_frame_with_foreign_columns_is_refused_before_any_file_is_written(tmp_path: Path):
    @dg.asset(
        key_prefix="tiny",
        partitions_def=LAYERS,
        metadata={"neuroscribe/tables": ["token_lookup"]},
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def token_lookup() -> dict[str, pl.DataFrame]:
        wrong = lookup(2).rename({"mean": "average"})
        return {"layer_00": lookup(0), "layer_01": lookup(1), "layer_02": wrong}

    with pytest.raises(StoreError, match="average"):
        run([token_lookup], str(tmp_path), tags=ALL)
    assert files_below(tmp_path) == []


def test_an_asset_that_does_not_name_its_tables_is_told_so(tmp_path: Path):
    @dg.asset(key_prefix="tiny")
    def nameless() -> pl.DataFrame:
        return sequences

    with pytest.raises(StoreError, match="asset tiny/nameless does not say which tables"):
        run([nameless], str(tmp_path))


def test_what_is_no_frame_is_refused(tmp_path: Path):
    @dg.asset(key_prefix="tiny", metadata={"neuroscribe/tables": ["corpus/sequences"]})
    def listed() -> Any:
        return [1, 2]

    with pytest.raises(StoreError, match="listed returned list where polars frames belong"):
        run([listed], str(tmp_path))


def test_a_file_of_an_older_version_is_named_when_read(tmp_path: Path):
    path = tmp_path / "tiny/token_lookup/layer_00.parquet"
    path.parent.mkdir(parents=True)
    lookup(0).drop("count").write_parquet(path)
    with pytest.raises(StoreError, match=r"layer_00\.parquet: table token_lookup has columns"):
        Tables(str(tmp_path)).read("tiny", "token_lookup", 0)
    path.write_bytes(b"PAR1 torn")
    with pytest.raises(StoreError, match=r"layer_00\.parquet: not a readable Parquet file"):
        Tables(str(tmp_path)).read("tiny", "token_lookup", 0)


def test_layers_are_read_together_in_order(tmp_path: Path):
    tables = Tables(str(tmp_path))
    for layer in (10, 2, 1):
        tables.write(lookup(layer), "tiny", "token_lookup", layer, provenance={})
    assert tables.layers("tiny", "token_lookup") == [1, 2, 10]
    assert tables.read("tiny", "token_lookup")["layer"].to_list() == [1, 2, 10]
    assert tables.scan("tiny", "token_lookup").select("layer").collect()["layer"].to_list() == [1, 2, 10]
    assert tables.exists("tiny", "token_lookup", 10)
    assert not tables.exists("tiny", "token_lookup", 3)


def test_a_writer_that_breaks_off_leaves_the_old_file(tmp_path: Path):
    files = Files(str(tmp_path))
    files.write("a/table.parquet", b"old")

    def half(path: Path) -> None:
        path.write_bytes(b"ne")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StoreError, match=r"table\.parquet: cannot be written: the disk is full; free space"):
        files.write_by("a/table.parquet", half)
    assert files_below(tmp_path) == ["a/table.parquet"]
    assert files.read("a/table.parquet") == b"old"


def test_the_rest_of_a_killed_writer_is_no_table(tmp_path: Path):
    tables = Tables(str(tmp_path))
    tables.write(lookup(1), "tiny", "token_lookup", 1, provenance={})
    (tmp_path / "tiny/token_lookup/.layer_02.parquet.0a1b.part").write_bytes(b"PAR1 half")
    assert tables.layers("tiny", "token_lookup") == [1]


def test_a_store_that_is_no_folder_is_named(tmp_path: Path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StoreError, match=r"taken.*cannot be written"):
        Tables(str(tmp_path / "taken")).write(lookup(0), "tiny", "token_lookup", 0, provenance={})


def test_tables_lie_on_s3_as_they_lie_on_disk(tmp_path: Path, bucket: Any):
    @dg.asset(key_prefix="tiny")
    def report(token_lookup: LayerFrames) -> None:
        assert token_lookup["layer_02"].equals(lookup(2, rows=3))

    for root, endpoint_url in ((str(tmp_path), None), (bucket.root, bucket.endpoint_url)):
        run([corpus], root, endpoint_url=endpoint_url)
        run([token_lookup], root, endpoint_url=endpoint_url, tags=ALL)
        run([token_lookup, report], root, endpoint_url=endpoint_url, selection=[report])
    local = files_below(tmp_path)
    stored: list[str] = bucket.keys()
    assert [name for name in stored if "/.locks/" not in name] == [f"store/{name}" for name in local]
    remote = Files(bucket.root, endpoint_url=bucket.endpoint_url)
    assert all(remote.read(name) == (tmp_path / name).read_bytes() for name in local)
    tables = Tables(bucket.root, endpoint_url=bucket.endpoint_url)
    assert tables.layers("tiny", "token_lookup") == [0, 1, 2]
    assert tables.scan("tiny", "token_lookup").select(pl.len()).collect().item() == 6


def test_a_bucket_that_is_not_there_is_named_with_the_remedy(s3_endpoint: str):
    tables = Tables("s3://nowhere/store", endpoint_url=s3_endpoint)
    with pytest.raises(StoreError, match=r"s3://nowhere/store/tiny.*the bucket does not exist; create it"):
        tables.write(lookup(0), "tiny", "token_lookup", 0, provenance={})
    assert not tables.exists("tiny", "token_lookup", 0)


@pytest.mark.slow  # the client tries five times
@pytest.mark.usefixtures("impatient", "s3_endpoint")
def test_an_s3_server_that_does_not_answer_is_named():
    tables = Tables("s3://neurons/store", endpoint_url="http://127.0.0.1:9")
    with pytest.raises(StoreError, match="S3 does not answer; check the endpoint"):
        tables.write(lookup(0), "tiny", "token_lookup", 0, provenance={})


def test_facts_in_files_are_text(tmp_path: Path):
    tables = Tables(str(tmp_path))
    tables.write(
        lookup(0), "tiny", "token_lookup", 0, provenance={"edges": [-1.5, 0.0, 1.5], "dtype": "bf16"}
    )
    stored = provenance_of(BytesIO((tmp_path / "tiny/token_lookup/layer_00.parquet").read_bytes()))
    assert json.loads(stored["edges"]) == [-1.5, 0.0, 1.5]
    assert stored["dtype"] == "bf16"
