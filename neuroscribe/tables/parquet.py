"""A table as the bytes of a Parquet file, and back; the same rows and provenance give the same bytes.

The file's metadata says which table it is and where it comes from. It holds no time of day. Among it is a
checksum (CRC-32) of all other bytes, checked whenever the file is read whole.
"""

import hashlib
import io
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import polars as pl
import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]

from neuroscribe.errors import StoreError
from neuroscribe.fingerprint import canonical
from neuroscribe.tables.records import Table

SCHEMA_VERSION = 1
"""Raised when a column is renamed, retyped or changes its meaning; new columns leave it as it is."""
_CHECKSUM = "neuroscribe.crc32"
_UNSET = b"00000000"
"""Stands in a file where its checksum belongs, while that is computed."""
_BEFORE = _CHECKSUM.encode() + b"\x18" + bytes([len(_UNSET)])
"""What stands before the checksum in a file: its key, then the type and length of a text in Thrift."""


@dataclass(frozen=True)
class Stamp:
    """What a file says about how it came to be; empty where it says nothing."""

    identity: str
    """The stage that wrote it (see `neuroscribe.study.stages.stage_identity`)."""
    content: str
    """Hash of its rows."""
    inputs: str
    """Hash of the tables it was made from (see `neuroscribe.study.lineage`)."""
    made_by: str = ""
    """Weights, machine and libraries, as JSON, where a model of this process made its rows."""
    code_version: str = ""
    """The release, and the version of the stage, that wrote it."""


@dataclass(frozen=True)
class TablePlace:
    """Whose table a file holds, and of which layer."""

    study: str
    table: Table
    layer: int | None = None

    @property
    def said(self) -> dict[str, object]:
        """What the file says of it."""
        layer = {} if self.layer is None else {"layer": self.layer}
        return {"study": self.study, "table": self.table.name, **layer}

    def check(self, stored: Mapping[str, str]) -> None:
        """Raise StoreError for a file that says it belongs elsewhere; older ones do not name their layer."""
        for name, wanted in self.said.items():
            if (named := stored.get(name, str(wanted))) != str(wanted):
                raise StoreError(
                    f"holds {name} {named[:80]}, not {wanted} as its place says: files have changed places;"
                    " move it back, or remove it and materialise both again"
                )

    def check_rows(self, frame: pl.DataFrame) -> None:
        """Raise StoreError for rows of another layer, where they have one."""
        if self.layer is None or "layer" not in frame.columns:
            return
        others = frame.filter(pl.col("layer") != self.layer)["layer"].unique().sort().to_list()
        if others:
            raise StoreError(
                f"holds rows of layer {others[0]}, not of {self.layer} as its place says: files have changed"
                " places; move it back, or remove it and materialise both again"
            )


def parquet_bytes(frame: pl.DataFrame, table: Table, provenance: Mapping[str, object]) -> bytes:
    """Return `frame` as a Parquet file; raises StoreError when it does not fit the table's declaration.

    Provenance may hold any plain data; what is not text is stored as canonical JSON.
    """
    rows = table.checked(frame)
    buffer = io.BytesIO()
    rows.write_parquet(
        buffer,
        compression="zstd",
        statistics=True,
        metadata=_file_metadata(table, {**provenance, "content": _content(rows)}),
    )
    data = buffer.getvalue()
    place = _checksum_place(data)
    assert place is not None, "polars wrote no metadata"
    return b"".join([data[:place], _checksum(data, place), data[place + len(_UNSET) :]])


def parquet_frame(data: bytes, table: Table, belongs: TablePlace | None = None) -> pl.DataFrame:
    """Read a Parquet file.

    Raises StoreError for bytes that are none or have changed since they were written, for columns not as
    declared, and for a file that does not belong where `belongs` says.
    """
    place = _checksum_place(data)
    if place is not None and data[place : place + len(_UNSET)] != _checksum(data, place):
        raise StoreError(
            "its bytes have changed since it was written (the checksum in it is that of others); check the"
            " disk, remove the file and materialise it again"
        )
    try:
        if belongs is not None:
            belongs.check(provenance_of(io.BytesIO(data)))
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError, ValueError) as error:
        raise StoreError(f"not a readable Parquet file ({error}); materialise it again") from error
    rows = table.checked(frame)
    if belongs is not None:
        belongs.check_rows(rows)
    return rows


def provenance_of(file: Any) -> dict[str, str]:
    """Return what an open file says about itself: table, schema_version, key and its provenance, as text.

    Only the end of the (binary, seekable) file is read; polars would read it whole. Raises ValueError for
    a file that is no Parquet.
    """
    try:
        stored = cast(dict[bytes, bytes], pq.read_metadata(file).metadata or {})  # pyright: ignore[reportUnknownMemberType]
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's, and not what pyarrow says of bytes
        raise ValueError(f"its end is no Parquet's ({error})") from error
    return {
        key.decode().removeprefix("neuroscribe."): value.decode()
        for key, value in stored.items()
        if key.startswith(b"neuroscribe.")
    }


def stamp_of(file: Any, belongs: TablePlace) -> Stamp:
    """Return the stamp of an open file (binary, seekable).

    Raises ValueError for one that is no Parquet, and StoreError for one that belongs elsewhere.
    """
    stored = provenance_of(file)
    belongs.check(stored)
    return Stamp(
        *(stored.get(name, "") for name in ("identity", "content", "inputs", "made_by", "code_version"))
    )


def _content(rows: pl.DataFrame) -> str:
    """Return the hash of a frame's rows: of their plain Parquet form, whose bytes depend on nothing else."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="uncompressed", statistics=False)
    return hashlib.sha256(buffer.getbuffer()).hexdigest()[:32]


def _checksum_place(data: bytes) -> int | None:
    """Return where a file's checksum begins, or None if it has none."""
    before = data.rfind(_BEFORE)
    return None if before < 0 else before + len(_BEFORE)


def _checksum(data: bytes, place: int) -> bytes:
    """Return the checksum of a file with `_UNSET` where it belongs."""
    view = memoryview(data)
    checksum = zlib.crc32(view[place + len(_UNSET) :], zlib.crc32(_UNSET, zlib.crc32(view[:place])))
    return f"{checksum:08x}".encode()


def _file_metadata(table: Table, provenance: Mapping[str, object]) -> dict[str, str]:
    declared = {"table": table.name, "schema_version": SCHEMA_VERSION, "key": list(table.key)}
    entries = {**provenance, **declared}
    texts = {f"neuroscribe.{key}": _text(entries[key]) for key in sorted(entries)}
    return {**texts, _CHECKSUM: _UNSET.decode()}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(canonical(value), ensure_ascii=False)
