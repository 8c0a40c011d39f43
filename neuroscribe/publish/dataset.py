"""The published dataset: Parquet files as declared in `neuroscribe.tables.records`, with manifest and card.

Same tables and study give the same bytes. Nothing here touches a disk: a `DatasetStore` takes a draft and
puts it in the place of the previous dataset as a whole.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from neuroscribe.errors import StoreError
from neuroscribe.fingerprint import canonical
from neuroscribe.ports.stores import DatasetStore
from neuroscribe.publish.card import Credit, credits_of, dataset_card
from neuroscribe.study.spec import Study, layer_key
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.tables.parquet import SCHEMA_VERSION, parquet_bytes
from neuroscribe.tables.records import TABLES, Table

FORMAT_VERSION = 1
"""Raised when files move or the manifest's keys change their meaning."""
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Part:
    """One file's worth of a table."""

    table: str
    layer: int | None
    frame: pl.DataFrame


@dataclass(frozen=True)
class DatasetFile:
    """One file of a dataset; `rows` is None for what is no table."""

    path: str
    bytes: int
    sha256: str
    table: str | None = None
    layer: int | None = None
    rows: int | None = None


@dataclass(frozen=True)
class Published:
    """What was published and where."""

    uri: str
    files: tuple[DatasetFile, ...]
    counts: Mapping[str, int]
    """Numbers defined in `neuroscribe.glossary.COUNTS`."""
    manifest_sha256: str

    @property
    def rows(self) -> int:
        """Rows of all tables together."""
        return sum(file.rows or 0 for file in self.files)

    @property
    def bytes(self) -> int:
        """Size of all files but manifest and checksums."""
        return sum(file.bytes for file in self.files)


def neuron_dataset(
    store: DatasetStore,
    study: Study,
    parts: Iterable[Part],
    *,
    study_fingerprint: str,
    provenance: Mapping[str, object],
    licences: Mapping[str, str] | None = None,
    units: UnitKind = MLP_NEURONS,
    extras: Iterable[tuple[str, bytes]] = (),
) -> Published:
    """Publish tables, and `extras` (path and bytes of files in other layouts), as the study's dataset.

    Parts are taken one by one, so that they need not be in memory together. `licences` maps artefact or
    model names to a sentence. Raises StoreError when there is nothing to publish, when a frame does not fit
    its table, or when two files have the same path.
    """
    tally = _Tally()
    with store.draft(study.name) as write:
        for part in parts:
            _write(write, tally, _table_file(part, provenance))
            tally.add(part)
        if not tally.files:
            raise StoreError(f"study {study.name} has no tables to publish; materialise its assets first")
        for path, data in extras:
            _write(write, tally, (DatasetFile(path, len(data), _sha256(data)), data))
        credits = credits_of(study, licences or {})
        card = dataset_card(study, tally.tables, counts=tally.counts, credits=credits, units=units).encode()
        _write(write, tally, (DatasetFile("README.md", len(card), _sha256(card)), card))
        manifest = _json(_manifest(study, tally, study_fingerprint, provenance, credits))
        write("checksums.txt", _checksums(tally.files, manifest))
        write(MANIFEST, manifest)
    return Published(store.uri(study.name), tuple(tally.files), dict(tally.counts), _sha256(manifest))


def rebased(manifest: bytes, base: str) -> bytes:
    """Return a manifest whose paths are relative to the folder `base` beside it."""
    return _json({**json.loads(manifest), "base": base})


@dataclass
class _Tally:
    """What has been written so far."""

    files: list[DatasetFile] = field(default_factory=list[DatasetFile])
    tables: list[Table] = field(default_factory=list[Table])
    counts: Counter[str] = field(default_factory=Counter[str])
    nulls: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])

    def add(self, part: Part) -> None:
        table = TABLES[part.table]
        if table not in self.tables:
            self.tables.append(table)
        self.counts.update(_counts(part))
        nulls = {column.name: part.frame[column.name].null_count() for column in table.columns}
        found = Counter({name: count for name, count in nulls.items() if count})
        self.nulls[table.name] = self.nulls.get(table.name, Counter()) + found


def _write(write: Callable[[str, bytes], None], tally: _Tally, item: tuple[DatasetFile, bytes]) -> None:
    file, data = item
    if any(file.path == known.path for known in tally.files):
        raise StoreError(f"two files of the dataset are called {file.path}; give one of them another path")
    if file.path.startswith("/") or ".." in file.path.split("/") or not file.path.isprintable():
        raise StoreError(f"{file.path!r} is no path inside a dataset; use a relative one on one line")
    write(file.path, data)
    tally.files.append(file)


def _table_file(part: Part, provenance: Mapping[str, object]) -> tuple[DatasetFile, bytes]:
    if part.table not in TABLES:
        raise StoreError(
            f"there is no table {part.table!r}; neuroscribe/tables/records.py declares {', '.join(TABLES)}"
        )
    data = parquet_bytes(part.frame, TABLES[part.table], provenance)
    where = part.table if part.layer is None else f"{part.table}/{layer_key(part.layer)}"
    path = f"data/{where}.parquet"
    return DatasetFile(path, len(data), _sha256(data), part.table, part.layer, part.frame.height), data


def _counts(part: Part) -> dict[str, int]:
    """Return what a part adds to the numbers of the manifest; see `glossary.COUNTS`."""
    frame, sides = part.frame, ["layer", "neuron", "polarity"]
    match part.table:
        case "activations/statistics":
            return {"neurons": frame.height}
        case "explanations":
            explained = frame.filter(pl.col("status") == "ok").select(sides).n_unique()
            return {"explanations": frame.height, "explained": explained}
        case "scores":
            valued = frame.filter(pl.col("value").is_not_null())
            scored = valued.filter("chosen", split="test").select(sides).n_unique()
            return {"scored": scored, "scores": valued.height, "unscored": frame.height - valued.height}
        case _:
            return {}


_ADDRESS = {"base_url"}
_UNPUBLISHED: Any = {"name": True, "description": True, "llm": _ADDRESS, "simulator_llm": _ADDRESS}
"""Settings that are told elsewhere, or are nobody's business."""


def _manifest(
    study: Study,
    tally: _Tally,
    study_fingerprint: str,
    provenance: Mapping[str, object],
    credits: Iterable[Credit],
) -> dict[str, Any]:
    return {
        "format": "neuroscribe dataset",
        "format_version": FORMAT_VERSION,
        "schema_version": SCHEMA_VERSION,
        "base": "",
        "study": {
            "name": study.name,
            "fingerprint": study_fingerprint,
            "description": study.description,
            "settings": study.model_dump(mode="json", exclude=_UNPUBLISHED),
        },
        "subject": {
            "model": study.subject.model,
            "revision": study.subject.revision,
            "layers": study.subject.layers,
            "neurons_per_layer": study.subject.neurons_per_layer,
        },
        "provenance": canonical(provenance),
        "licences": [vars(credit) for credit in credits],
        "counts": dict(tally.counts),
        "nulls": {table: dict(nulls) for table, nulls in tally.nulls.items() if nulls},
        "tables": {table.name: _declaration(table) for table in tally.tables},
        "files": [vars(file) for file in tally.files],
    }


def _declaration(table: Table) -> dict[str, Any]:
    return {
        "description": table.description,
        "key": table.key,
        "columns": [vars(column) | {"dtype": str(column.dtype)} for column in table.columns],
    }


def _checksums(files: Iterable[DatasetFile], manifest: bytes) -> bytes:
    """Return lines that `sha256sum -c` reads, for every file but this one."""
    sums = {file.path: file.sha256 for file in files} | {MANIFEST: _sha256(manifest)}
    return "".join(f"{sums[path]}  {path}\n" for path in sorted(sums)).encode()


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
