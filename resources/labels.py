"""Files of labels that others have made: CSV, Parquet and JSON, local or on S3, plain or in gzip.

One file is in memory at a time. Whatever is wrong in one ends the run with its place and a remedy, before
anything is spent.
"""

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import PurePath
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field
from upath import UPath

from neuroscribe.errors import LabelError
from neuroscribe.ports.labels import Labels
from neuroscribe.study.labels import LabelsSpec
from neuroscribe.study.spec import Study
from resources.globs import matching_files
from resources.label_records import COLUMNS, Row, collected, records
from resources.store.files import place, store_errors
from resources.store.outages import patient

MOST_BYTES = 2**30
"""Of all files of an explainer together, unpacked; labels of both signs of 458,752 neurons are a tenth."""
_ENDINGS = {"csv": (".csv",), "parquet": (".parquet",)}
_JSON = (".json", ".jsonl")
_ALL = (".csv", ".parquet", *_JSON)


class LabelFiles(dg.ConfigurableResource):
    """Reads the labels that studies name. Fulfils the port `LabelSource`."""

    endpoint_url: str | None = Field(default=None, description="S3 server other than the usual one")

    def open(self, spec: LabelsSpec, study: Study) -> Labels:
        """Return the labels of a study's explainer.

        Raises LabelError, naming file, line, finding and remedy, for files that are not there, are others
        than `sha256` says, or hold what is no label of the study's subject.
        """
        files = _Files(spec, self.endpoint_url)
        found = collected(records(files.rows(), spec), spec, study)
        files.check_sha256()
        return Labels(PurePath(spec.file).name, found)


class _Files:
    """The files that a study names, read one after the other."""

    def __init__(self, spec: LabelsSpec, endpoint_url: str | None) -> None:
        self._spec, self._endpoint_url = spec, endpoint_url
        self._about = f"file = {spec.file!r}"
        self._hash = hashlib.sha256()
        self._left = MOST_BYTES

    def rows(self) -> Iterator[Row]:
        """Yield what stands in the files, row by row or entry by entry, with its place."""
        for path in self._paths():
            ending = _ending(path)
            yield from _READERS[ending](path.name, self._content(path))

    def check_sha256(self) -> None:
        """Raise LabelError unless what was read is what the study says."""
        found, wanted = self._hash.hexdigest(), self._spec.sha256
        if wanted not in (None, found):
            raise LabelError(
                f"{self._about}: the SHA-256 of its bytes is {found}, and the study names {wanted}; restore"
                " the file, or name its hash if it is the one that is meant"
            )

    def _paths(self) -> list[UPath]:
        with self._errors(self._spec.file, "listed"):
            try:
                found = patient(self._spec.file, lambda: list(matching_files(self._spec.file, self._place)))
                paths = sorted(found, key=str)
            except (ValueError, NotImplementedError) as error:
                raise LabelError(f"{self._about} is no path or glob ({error}); correct it") from error
        if not paths:
            raise LabelError(
                f"{self._about} names no file; give a file, or a glob as in labels/*.jsonl, and not a folder"
            )
        known = _ENDINGS.get(self._spec.format, _ALL if self._spec.format == "auto" else _JSON)
        for path in paths:
            if _ending(path) not in known:
                raise LabelError(
                    f"{path}: labels of the format {self._spec.format!r} are read from {', '.join(known)}"
                    " (or these with .gz after it); narrow `file`, or convert this one"
                )
        return paths

    def _content(self, path: UPath) -> bytes:
        """Return a file's bytes, unpacked; raises LabelError where all together are too many."""
        with self._errors(path, "read"):
            if patient(path, lambda: path.stat().st_size) > self._left:
                raise self._too_large(path)
            data = patient(path, path.read_bytes)
        self._hash.update(data)
        if path.name.lower().endswith(".gz"):
            data = self._unpacked(path, data)
        self._left -= len(data)
        if self._left < 0:
            raise self._too_large(path)
        return data

    def _unpacked(self, path: UPath, data: bytes) -> bytes:
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
                return file.read(self._left + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise LabelError(f"{path}: no readable gzip file ({error}); fetch or pack it anew") from error

    def _too_large(self, path: UPath) -> LabelError:
        return LabelError(
            f"{path}: with it the files of {self._about} are more than {MOST_BYTES // 2**20:,} MiB; leave out"
            " what is no label (simulations, embeddings), or the layers that the study does not explain"
        )

    def _place(self, address: str) -> UPath:
        return place(address, about="file", kind=LabelError, endpoint_url=self._endpoint_url)

    def _errors(self, path: object, done: str) -> AbstractContextManager[None]:
        return store_errors(path, done, about=self._about, kind=LabelError, elsewhere="other files")


def _ending(path: UPath) -> str:
    """Return a file's ending, without that of gzip."""
    return PurePath(path.name.lower().removesuffix(".gz")).suffix


def _table_rows(name: str, data: bytes) -> Iterator[Row]:
    """Yield the rows of a CSV file, whose first line names the columns."""
    reader = csv.DictReader(io.StringIO(_decoded(name, data), newline=""), strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise LabelError(
                f"{name}, line {reader.reader.line_num}: no readable CSV ({error}); put fields with commas,"
                " quotes or line breaks into double quotes, and leave out what is no label"
            ) from error
        if row is None:
            return
        where = f"{name}, line {reader.line_num}"
        if None in row or None in row.values():
            raise LabelError(
                f"{where}: not as many fields as the {len(reader.fieldnames or ())} columns that the first"
                " line names; put fields with commas into double quotes"
            )
        yield where, row


def _parquet_rows(name: str, data: bytes) -> Iterator[Row]:
    """Yield the rows of a Parquet file, of its columns those that may say something of a label."""
    try:
        there = pl.read_parquet_schema(io.BytesIO(data))
        known = [column for column in there if column in COLUMNS]
        frame = pl.read_parquet(io.BytesIO(data), columns=known) if known else pl.DataFrame()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise LabelError(f"{name}: no readable Parquet file ({error}); write it anew") from error
    if not known:
        yield f"{name}, row 0", dict.fromkeys(there)
    for number, row in enumerate(frame.iter_rows(named=True)):
        yield f"{name}, row {number}", row


def _json_lines(name: str, data: bytes) -> Iterator[Row]:
    """Yield the objects of a file with one on each line; blank lines are none."""
    for number, line in enumerate(_decoded(name, data).split("\n"), start=1):
        if line.strip():
            where = f"{name}, line {number}"
            yield where, _object(where, _parsed(where, line))


def _json_entries(name: str, data: bytes) -> Iterator[Row]:
    """Yield the objects of a list, or the one object, that a JSON file holds."""
    found = _parsed(name, _decoded(name, data))
    for number, entry in enumerate(found if isinstance(found, list) else [found], start=1):
        where = f"{name}, entry {number}"
        yield where, _object(where, entry)


def _parsed(where: str, text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError as error:
        raise LabelError(f"{where}: nested too deeply; remove it") from error
    except ValueError as error:
        raise LabelError(
            f"{where}: no valid JSON ({str(error)[:200]}); correct it, and name files with an object on each"
            " line .jsonl"
        ) from error


def _object(where: str, entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise LabelError(f"{where}: a {type(entry).__name__} where an object belongs; correct or remove it")
    return entry


def _decoded(name: str, data: bytes) -> str:
    """Return a file's text, without the mark that some editors put before it."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LabelError(
            f"{name}, line {line}: byte {error.start} is no UTF-8 ({error.reason}); convert the file to UTF-8"
        ) from error


_READERS: dict[str, Callable[[str, bytes], Iterator[Row]]] = {
    ".csv": _table_rows,
    ".parquet": _parquet_rows,
    ".json": _json_entries,
    ".jsonl": _json_lines,
}
