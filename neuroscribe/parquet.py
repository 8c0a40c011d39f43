"""A table as the bytes of a Parquet file, and back; the same rows and provenance give the same bytes.

The file's metadata says which table it is and where it comes from. It holds no time of day.
"""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import polars as pl
import pyarrow.parquet as pq  # pyright: ignore[reportMissingTypeStubs]

from neuroscribe.errors import StoreError
from neuroscribe.fingerprint import canonical
from neuroscribe.records import Table

SCHEMA_VERSION = 1
"""Raised when a column is renamed, retyped or changes its meaning; new columns leave it as it is."""


@dataclass(frozen=True)
class Stamp:
    """What a file says about how it came to be; empty where it says nothing."""

    identity: str
    """The stage that wrote it (see `neuroscribe.stages.stage_identity`)."""
    content: str
    """Hash of its rows."""
    inputs: str
    """Hash of the tables it was made from (see `neuroscribe.lineage`)."""


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
    return buffer.getvalue()


def parquet_frame(data: bytes, table: Table) -> pl.DataFrame:
    """Read a Parquet file; raises StoreError for bytes that are none and for columns not as declared."""
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except pl.exceptions.PolarsError as error:
        raise StoreError(f"not a readable Parquet file ({error}); materialise it again") from error
    return table.checked(frame)


def provenance_of(file: Any) -> dict[str, str]:
    """Return what an open file says about itself: table, schema_version, key and its provenance, as text.

    Only the end of the (binary, seekable) file is read; polars would read it whole. Raises ValueError for
    a file that is no Parquet.
    """
    stored = cast(dict[bytes, bytes], pq.read_metadata(file).metadata or {})  # pyright: ignore[reportUnknownMemberType]
    return {
        key.decode().removeprefix("neuroscribe."): value.decode()
        for key, value in stored.items()
        if key.startswith(b"neuroscribe.")
    }


def stamp_of(file: Any) -> Stamp:
    """Return the stamp of an open file (binary, seekable); raises ValueError for one that is no Parquet."""
    stored = provenance_of(file)
    return Stamp(*(stored.get(name, "") for name in ("identity", "content", "inputs")))


def _content(rows: pl.DataFrame) -> str:
    """Return the hash of a frame's rows: of their plain Parquet form, whose bytes depend on nothing else."""
    buffer = io.BytesIO()
    rows.write_parquet(buffer, compression="uncompressed", statistics=False)
    return hashlib.sha256(buffer.getbuffer()).hexdigest()[:32]


def _file_metadata(table: Table, provenance: Mapping[str, object]) -> dict[str, str]:
    own = {"table": table.name, "schema_version": SCHEMA_VERSION, "key": list(table.key)}
    entries = {**provenance, **own}
    return {f"neuroscribe.{key}": _text(entries[key]) for key in sorted(entries)}


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(canonical(value), ensure_ascii=False)
