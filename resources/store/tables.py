"""Tables as Parquet files: `<root>/<study>/<table>/layer_NN.parquet`, or `<table>.parquet` without layers.

`TableIO` moves frames between assets and the store, `Tables` serves scripts. Frames are checked against the
declarations in `neuroscribe.tables.records` before they are written and after they are read.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, BinaryIO, NamedTuple

import dagster as dg
import polars as pl
from upath import UPath

from neuroscribe.errors import StoreError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.frames import LayerFrames, MadeLayer, MadeLayers
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import layer_key, layer_of
from neuroscribe.study.stages import STAGES, TABLES
from neuroscribe.tables.columns import Table
from neuroscribe.tables.parquet import (
    Stamp,
    TablePlace,
    parquet_bytes,
    parquet_frame,
    provenance_of,
    stamp_of,
)
from resources.store.files import Files, Stored
from resources.store.study_locks import check_held, writing

_LAYER_FILE = re.compile(r"(layer_\d+)\.parquet")
TABLES_KEY = "neuroscribe/tables"
"""Asset definition metadata: the names of the asset's tables."""
PROVENANCE_KEY = "neuroscribe/provenance"
"""Asset definition metadata: what the files' own metadata say."""
COMMIT_KEY = "neuroscribe/commit"
"""Materialisation metadata: the commit of the code that made it."""


class Written(NamedTuple):
    """What became of a frame."""

    size: int
    """In bytes."""
    content: str
    """The hash of its rows."""


class Tables:
    """The tables of a store, by study, name and layer."""

    def __init__(self, root: str, *, endpoint_url: str | None = None) -> None:
        self.root, self.endpoint_url = root, endpoint_url

    @property
    def _files(self) -> Files:
        return Files(self.root, endpoint_url=self.endpoint_url)

    def path(self, study: str, table: str, layer: int | None = None) -> UPath:
        """Return where a table's file is or would be."""
        return self._files.path(_file(study, table, layer))

    def uri(self, study: str, table: str, layer: int | None = None) -> str:
        """Return the same as an address."""
        return self._files.uri(_file(study, table, layer))

    def exists(self, study: str, table: str, layer: int | None = None) -> bool:
        """Tell whether a table's file is there, whole."""
        return self._files.exists(_file(study, table, layer))

    def layers(self, study: str, table: str) -> list[int]:
        """Return the layers of a per-layer table that are there, ascending."""
        names = self._files.names(f"{study}/{table}")
        return sorted(layer_of(found[1]) for name in names if (found := _LAYER_FILE.fullmatch(name)))

    def read(self, study: str, table: str, layer: int | None = None) -> pl.DataFrame:
        """Return a table; without `layer`, a per-layer table with all layers there are, in order."""
        layers = self._parts(study, table, layer)
        return pl.concat([self._read_file(study, table, part) for part in layers], rechunk=False)

    def scan(self, study: str, table: str) -> pl.LazyFrame:
        """Return all layers of a table as a query; files on S3 are fetched whole, local ones in part.

        Unlike `read`, it does not see that a file's bytes have changed since it was written.
        """
        relative = [_file(study, table, part) for part in self._parts(study, table, None)]
        if self._files.is_local:
            return pl.scan_parquet([self._files.local_path(name) for name in relative], glob=False)
        return pl.scan_parquet([io.BytesIO(self._files.read(name)) for name in relative])

    def write(
        self,
        frame: pl.DataFrame,
        study: str,
        table: str,
        layer: int | None = None,
        *,
        provenance: Mapping[str, object],
    ) -> Written:
        """Write one file of a table atomically and return its size in bytes, and the hash of its rows.

        Raises StoreError if this process held the study's lock and has lost it to another.
        """
        check_held(self.root, study)
        place = _place(study, table, layer)
        data = parquet_bytes(frame, place.table, {**provenance, **place.said})
        size = self._files.write(_file(study, table, layer), data)
        return Written(size, stamp_of(io.BytesIO(data), place).content)

    def stamp(self, study: str, table: str, layer: int | None = None) -> Stamp | None:
        """Return how a file came to be (see neuroscribe/study/lineage.py).

        None for a file that is not there, is no whole Parquet file, or belongs elsewhere, and so has to be
        made again.
        """
        try:
            place = _place(study, table, layer)
            return self._files.read_by(_file(study, table, layer), lambda file: _stamp(file, place))
        except FileNotFoundError:
            return None

    def provenance(self, study: str, table: str, layer: int | None = None) -> dict[str, str]:
        """Return what a file says about itself; raises StoreError for one that is not there or is none."""
        try:
            return self._files.read_by(_file(study, table, layer), provenance_of)
        except FileNotFoundError as error:
            which = [] if layer is None else [layer_key(layer)]
            raise StoreError(_absent(self.path(study, table, layer), study, table, which)) from error
        except ValueError as error:
            raise StoreError(f"{self.path(study, table, layer)}: {error}; materialise it again") from error

    def _parts(self, study: str, table: str, layer: int | None) -> Sequence[int | None]:
        if layer is not None or not _declared(table).per_layer:
            return [layer]
        if layers := self.layers(study, table):
            return layers
        raise StoreError(_absent(self.path(study, table), study, table))

    def _read_file(self, study: str, table: str, layer: int | None) -> pl.DataFrame:
        path = self.path(study, table, layer)
        try:
            place = _place(study, table, layer)
            return parquet_frame(self._files.read(_file(study, table, layer)), place.table, place)
        except FileNotFoundError as error:
            which = [] if layer is None else [layer_key(layer)]
            raise StoreError(_absent(path, study, table, which)) from error
        except StoreError as error:
            raise StoreError(f"{path}: {error}") from error


class TableIO(dg.ConfigurableIOManagerFactory["TableIOManager"]):
    """Where the tables of all studies lie."""

    root: str
    """A local folder or `s3://bucket/prefix`."""
    endpoint_url: str | None = None
    """An S3-compatible server other than AWS."""
    commit: str = "unknown"
    """Of the code; reported with every materialisation, and no part of what is stored."""

    def create_io_manager(self, context: Any) -> "TableIOManager":
        """Return the manager that Dagster calls."""
        return TableIOManager(Tables(self.root, endpoint_url=self.endpoint_url), commit=self.commit)


class TableIOManager(dg.IOManager):
    """Stores and loads the frames of assets with key [study, asset] and metadata `neuroscribe/tables`."""

    def __init__(self, tables: Tables, *, commit: str) -> None:
        self._tables, self._commit = tables, commit

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Write a frame, a frame per table, or frames of layers as they are made; None wrote itself."""
        if obj is None:
            return
        names = _table_names(context.asset_key, context.definition_metadata)
        context.add_output_metadata({COMMIT_KEY: self._commit})
        layers = sorted(context.asset_partition_keys) if context.has_asset_partitions else []
        # Frames of layers are made while they are stored, so that no two runs ask, and pay, for the same.
        with writing(
            self._tables.root, context.asset_key.path, layers, endpoint_url=self._tables.endpoint_url
        ):
            if layers:
                self._store_layers(context, _only_table(context.asset_key, names), obj)
            else:
                self._store_tables(context, names, obj)

    def _store_layers(self, context: dg.OutputContext, table: str, obj: object) -> None:
        """Write the frames of the run's layers, each before the next is made."""
        wanted = sorted(context.asset_partition_keys, key=layer_of)
        made = obj if isinstance(obj, MadeLayers) else _made(_by_key(context, obj, wanted), table)
        for partition, frame, provenance in made:
            if partition not in wanted or partition in made.contents:
                raise StoreError(_unasked(context, partition, wanted))
            written, facts = self._stored(context, table, layer_of(partition), frame, provenance)
            made.contents[partition] = written.content
            if len(wanted) > 1:
                context.step_context.add_asset_metadata(facts, context.asset_key, partition)
            else:
                context.add_output_metadata(facts)
                _set_version(context, written.content)
        if absent := [partition for partition in wanted if partition not in made.contents]:
            raise StoreError(_unmade(context, absent))

    def _store_tables(self, context: dg.OutputContext, names: list[str], obj: object) -> None:
        frames = _by_key(context, obj, names)
        for name in names:
            _declared(name).checked(frames[name])
        contents: list[str] = []
        for name in names:
            written, facts = self._stored(context, name, None, frames[name], {})
            contents.append(written.content)
            if len(names) > 1:
                facts = {f"{name}/{key.removeprefix('dagster/')}": value for key, value in facts.items()}
            context.add_output_metadata(facts)
        _set_version(context, contents[0] if len(contents) == 1 else fingerprint("contents", contents)[:32])

    def _stored(
        self,
        context: dg.OutputContext,
        table: str,
        layer: int | None,
        frame: pl.DataFrame,
        provenance: Mapping[str, object],
    ) -> tuple[Written, dict[str, Any]]:
        """Write a file, and return what a materialisation reports of it."""
        study, stage = context.asset_key.path[0], context.asset_key.path[-1]
        _declared(table).checked(frame)
        inputs = Lineage(study, self._tables).inputs(stage, layer)
        said = {**_declared_provenance(context), **provenance, "inputs": inputs}
        written = self._tables.write(frame, study, table, layer, provenance=said)
        return written, _file_facts(self._tables, study, table, layer, rows=frame.height, size=written.size)

    def load_input(self, context: dg.InputContext) -> pl.DataFrame | Mapping[str, pl.DataFrame]:
        """Return a frame per partition or table, or the only frame where the parameter is annotated so."""
        assert context.upstream_output is not None
        study = context.asset_key.path[0]
        names = _table_names(context.asset_key, context.upstream_output.definition_metadata)
        frames: Mapping[str, pl.DataFrame] = (
            self._partitions(context, study, _only_table(context.asset_key, names))
            if context.has_asset_partitions
            else {name: self._tables.read(study, name) for name in names}
        )
        if context.dagster_type.typing_type is not pl.DataFrame:
            return frames
        if len(frames) == 1:
            return next(iter(frames.values()))
        raise StoreError(
            f"asset {context.asset_key.to_user_string()} yields {len(frames)} frames"
            f" ({', '.join(frames)}) for a parameter that takes one; annotate it LayerFrames, or a dict"
        )

    def _partitions(self, context: dg.InputContext, study: str, table: str) -> Mapping[str, pl.DataFrame]:
        present = {layer_key(layer) for layer in self._tables.layers(study, table)}
        wanted = sorted(context.asset_partition_keys, key=layer_of)
        absent = [key for key in wanted if key not in present]
        if absent and not context.definition_metadata.get("allow_missing_partitions"):
            path = self._tables.path(study, table, layer_of(absent[0]))
            raise StoreError(_absent(path, study, table, absent))
        there = [key for key in wanted if key in present]
        self._check_lineage(study, table, map(layer_of, there))
        return LayerFrames(lambda key: self._tables.read(study, table, layer_of(key)), there)

    def _check_lineage(self, study: str, table: str, layers: Iterable[int]) -> None:
        """Raise StoreError for a layer that was made from other tables than those that are there now."""
        lineage, stage = Lineage(study, self._tables), table.split("/")[0]
        for layer in layers if stage in STAGES else ():
            if not lineage.holds(stage, layer):
                path = self._tables.path(study, table, layer)
                raise StoreError(
                    f"{path}: was made from other tables than those there now; materialise asset"
                    f" {study}/{stage} for {layer_key(layer)} again"
                )


def _file(study: str, table: str, layer: int | None) -> str:
    return f"{study}/{table}.parquet" if layer is None else f"{study}/{table}/{layer_key(layer)}.parquet"


def _place(study: str, table: str, layer: int | None) -> TablePlace:
    return TablePlace(study, _declared(table), layer)


def _stamp(file: BinaryIO, place: TablePlace) -> Stamp | None:
    """Return the stamp of an open file, None for one that is no Parquet or belongs elsewhere."""
    try:
        return stamp_of(file, place)
    except (ValueError, StoreError):
        return None


def _declared(table: str) -> Table:
    if table not in TABLES:
        raise StoreError(
            f"there is no table {table!r}; neuroscribe/tables/records.py declares {', '.join(TABLES)}"
        )
    return TABLES[table]


def _absent(path: UPath, study: str, table: str, partitions: Sequence[str] = ()) -> str:
    asset = table.split("/")[0]
    which = f" for {', '.join(partitions)}" if partitions else ""
    return f"{path}: table {table} is not there{which}; materialise asset {study}/{asset}{which} first"


def _table_names(key: dg.AssetKey, metadata: Mapping[str, Any]) -> list[str]:
    """Return the tables that an asset's definition declares."""
    names = _plain(metadata.get(TABLES_KEY))
    if not names:
        raise StoreError(
            f"asset {key.to_user_string()} does not say which tables it holds; add"
            f' metadata={{"{TABLES_KEY}": [...]}} to its definition'
        )
    return list(names)


def _only_table(key: dg.AssetKey, names: list[str]) -> str:
    if len(names) != 1:
        raise StoreError(
            f"asset {key.to_user_string()} is partitioned and declares the tables {', '.join(names)}; a"
            " partitioned asset holds one table, so split it"
        )
    return names[0]


def _by_key(context: dg.OutputContext, obj: object, wanted: list[str]) -> Mapping[str, pl.DataFrame]:
    """Return an output's frames by layer or table; raises StoreError unless they are those wanted."""
    given = {wanted[0]: obj} if isinstance(obj, pl.DataFrame) and len(wanted) == 1 else obj
    asset = context.asset_key.to_user_string()
    if not isinstance(given, Mapping) or not all(isinstance(frame, pl.DataFrame) for frame in given.values()):
        raise StoreError(
            f"asset {asset} returned {type(obj).__name__} where polars frames belong; return"
            f" {'a frame' if len(wanted) == 1 else 'a dict of frames'} for {', '.join(wanted)}"
        )
    if set(given) != set(wanted):
        raise StoreError(
            f"asset {asset} returned frames for {', '.join(map(str, given))}, but this run covers"
            f" {', '.join(wanted)}; return exactly these"
        )
    return {name: given[name] for name in wanted}


def _unasked(context: dg.OutputContext, partition: str, wanted: list[str]) -> str:
    return (
        f"asset {context.asset_key.to_user_string()} made {partition}, which this run does not cover, or"
        f" made it twice; make each of {', '.join(wanted)} once"
    )


def _unmade(context: dg.OutputContext, absent: list[str]) -> str:
    return (
        f"asset {context.asset_key.to_user_string()} did not make {', '.join(absent)}, which this run covers;"
        " make each layer of the run"
    )


def _set_version(context: dg.OutputContext, content: str) -> None:
    """Make the hash of its rows an asset's data version: equal rows leave what was made from them fresh."""
    with suppress(dg.DagsterInvariantViolationError):  # outside of a run there is no step to tell
        context.step_context.set_data_version(context.asset_key, dg.DataVersion(content))


def _declared_provenance(context: dg.OutputContext) -> dict[str, object]:
    return _plain(context.definition_metadata.get(PROVENANCE_KEY)) or {}


def _made(frames: Mapping[str, pl.DataFrame], table: str) -> MadeLayers:
    """Return frames that are all there already, none of which is stored unless all fit their table."""
    for frame in frames.values():
        _declared(table).checked(frame)
    return MadeLayers(MadeLayer(key, frame) for key, frame in frames.items())


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, dg.MetadataValue) else value


def _file_facts(
    tables: Tables, study: str, table: str, layer: int | None, *, rows: int, size: int
) -> dict[str, Any]:
    """Return what a materialisation reports of one file."""
    return {
        "dagster/row_count" if layer is None else "dagster/partition_row_count": rows,
        "dagster/uri": tables.uri(study, table, layer),
        "path": dg.MetadataValue.path(str(tables.path(study, table, layer))),
        "bytes": size,
    }


class TableFolders(Stored, Tables):
    """The tables of all studies, as a resource for assets that read layer by layer; fulfils `TableReader`."""
