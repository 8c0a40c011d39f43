"""Sources of text: pinned Wikipedia leads, and plain, JSON Lines or Parquet files, local or on S3.

Documents come in a fixed order. Bytes that are no text, and rows without the named text, end the run with
the place and a remedy, since leaving them out would change the corpus in silence.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field
from upath import UPath

from neuroscribe.errors import CorpusError
from neuroscribe.fingerprint import fingerprint
from neuroscribe.ports.sources import CorpusSource
from neuroscribe.ports.stores import Progress
from neuroscribe.study.spec import CorpusSpec
from neuroscribe.text.documents import Document
from resources.globs import matching_files
from resources.models.artefacts import Artefacts
from resources.store.files import place, store_errors
from resources.store.outages import patient


class WikipediaLeads:
    """Lead paragraphs of articles from a JSON file of {title: {title, extract, ...}}, in the file's order."""

    def __init__(self, path: Path, *, revision: str):
        self._path = path
        self.revision = revision
        """SHA-256 of the file."""

    def documents(self) -> Iterator[Document]:
        """Yield one document per article; raises CorpusError when the file has another form."""
        articles = json.loads(self._path.read_text(encoding="utf-8"))
        for title, article in articles.items():
            if not isinstance(article, dict) or not isinstance(article.get("extract"), str):
                raise CorpusError(
                    f"{self._path}: article {title!r} has no text `extract`; use a file of the pinned form"
                )
            yield Document(source=title, text=article["extract"])


_OF_A_FILE = ("size", "mtime", "ETag", "LastModified")
"""What disks and S3 say of a file that has been replaced."""


class TextFiles:
    """The documents of .txt files (one each), .jsonl lines or .parquet rows that a path or glob names."""

    def __init__(self, pattern: str, *, text_column: str, endpoint_url: str | None = None):
        self._pattern = pattern
        self._about = f"corpus.files = {pattern!r}"
        self._text_column = text_column
        self._endpoint_url = endpoint_url

    @property
    def revision(self) -> str:
        """Hash of the contents of all files, in order."""
        return self._revision

    @cached_property
    def _revision(self) -> str:
        return fingerprint([hashlib.sha256(self._content(path)).hexdigest() for path in self.paths])

    @cached_property
    def paths(self) -> "list[UPath]":
        """The files, sorted by path; raises CorpusError when there is none or one of another kind."""
        with self._errors(self._pattern, "listed"):
            try:
                paths = patient(self._pattern, lambda: list(matching_files(self._pattern, self._place)))
            except (ValueError, NotImplementedError) as error:
                raise CorpusError(f"{self._about} is no path or glob ({error}); correct it") from error
        if not paths:
            where = f" below {Path('~').expanduser()}" if self._pattern.startswith("~/") else ""
            raise CorpusError(f"{self._about} names no file{where}; give a file, or a glob as in texts/*.txt")
        for path in paths:
            if path.suffix not in {".txt", ".jsonl", ".parquet"}:
                raise CorpusError(
                    f"{path}: files of kind {path.suffix or 'unknown'!r} are not read; convert it to .txt,"
                    " .jsonl or .parquet, or narrow corpus.files"
                )
        return sorted(paths, key=str)

    @property
    def listing(self) -> str:
        """Hash of what the disk, or S3, says of the files: name, size, and time or tag."""
        with self._errors(self._pattern, "listed"):
            facts = [(str(path), path.fs.info(path.path)) for path in self.paths]
        return fingerprint([[name, *(str(said.get(fact)) for fact in _OF_A_FILE)] for name, said in facts])

    def check(self) -> None:
        """Raise CorpusError unless there are files and the first can be opened, before anything is loaded."""
        first = self.paths[0]

        def read() -> None:
            with first.open("rb") as file:
                file.read(1)

        with self._errors(first, "read"):
            patient(first, read)

    def _place(self, address: str) -> UPath:
        return place(address, about="corpus.files", kind=CorpusError, endpoint_url=self._endpoint_url)

    def _errors(self, path: object, done: str) -> AbstractContextManager[None]:
        return store_errors(path, done, about=self._about, kind=CorpusError, elsewhere="other files")

    def documents(self) -> Iterator[Document]:
        """Yield the documents file by file; raises CorpusError naming the place of what is no text."""
        readers = {".txt": self._whole, ".jsonl": self._lines, ".parquet": self._rows}
        for path in self.paths:
            yield from readers[path.suffix](path)

    def _whole(self, path: UPath) -> Iterator[Document]:
        """Yield a whole file as one document."""
        yield Document(source=path.name, text=_decoded(path, self._content(path)))

    def _content(self, path: UPath) -> bytes:
        with self._errors(path, "read"):
            return patient(path, path.read_bytes)

    def _lines(self, path: UPath) -> Iterator[Document]:
        """Yield one document per JSON line that is not blank."""
        lines = _decoded(path, self._content(path)).split("\n")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise CorpusError(
                    f"{path}, line {number}: no valid JSON ({_fault(error)}); correct or remove the line"
                ) from error
            yield Document(source=f"{path.name}, line {number}", text=self._text(row, path, number))

    def _text(self, row: Any, path: UPath, number: int) -> str:
        """Return the text of a JSON line."""
        text = row.get(self._text_column) if isinstance(row, dict) else None
        if not isinstance(text, str):
            raise CorpusError(f"{path}, line {number}: {_no_text(row, self._text_column)}")
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"{path}, line {number}: character {error.start} of {self._text_column!r} is half of a"
                f" surrogate pair (\\u{ord(text[error.start]):x}), which is no text; correct or remove the"
                " line"
            ) from error
        return text

    def _rows(self, path: UPath) -> Iterator[Document]:
        """Yield one document per row of a Parquet file."""
        for number, text in enumerate(self._column(path)):
            if text is None:
                raise CorpusError(
                    f"{path}, row {number}: {self._text_column!r} is null; remove rows without text"
                )
            yield Document(source=f"{path.name}, row {number}", text=text)

    def _column(self, path: UPath) -> pl.Series:
        """Return the column of a Parquet file that holds the text."""
        name = self._text_column
        try:
            with self._errors(path, "read"):
                return patient(path, lambda: _text_column(path, name))
        except pl.exceptions.PolarsError as error:
            raise CorpusError(f"{path}: no readable Parquet file ({error}); write it anew") from error


def listing(spec: CorpusSpec, *, endpoint_url: str | None = None) -> str:
    """Return a hash of names, sizes and times of the files that a corpus names; none of them is read.

    Raises CorpusError where there is none, and what `TextFiles.paths` raises.
    """
    assert spec.files is not None, "pinned text does not change"
    files = TextFiles(spec.files, text_column=spec.text_column, endpoint_url=endpoint_url)
    return files.listing


class Texts(dg.ConfigurableResource):
    """Opens the text that a study names."""

    cache_dir: str = Field(default=".cache/neuroscribe", description="folder of fetched text")
    hub: bool = Field(default=True, description="whether a model hub may be asked")
    endpoint_url: str | None = Field(default=None, description="S3 server other than the usual one")

    def open(self, spec: CorpusSpec, *, progress: Progress | None = None) -> CorpusSource:
        """Return the source of a corpus.

        Raises ArtefactError when pinned text cannot be had, and CorpusError for files that cannot.
        """
        if spec.artefact is None:
            assert spec.files is not None
            files = TextFiles(spec.files, text_column=spec.text_column, endpoint_url=self.endpoint_url)
            files.check()
            return files
        artefacts = Artefacts(Path(self.cache_dir), hub=self.hub, progress=progress)
        path = artefacts.fetch(spec.artefact)
        if path.suffix != ".json":
            raise CorpusError(
                f"corpus.artefact = {spec.artefact!r} is {artefacts.pin(spec.artefact).about}, which is no"
                " text; name an artefact that is, such as wikipedia-leads-en"
            )
        return WikipediaLeads(path, revision=artefacts.pin(spec.artefact).sha256)


def _text_column(path: UPath, name: str) -> pl.Series:
    """Return a column of a Parquet file; raises CorpusError where none of that name holds text."""
    with path.open("rb") as file:
        schema = pl.read_parquet_schema(file)
    if fault := _no_column(schema, name):
        raise CorpusError(f"{path}: {fault}")
    with path.open("rb") as file:
        return pl.read_parquet(file, columns=[name])[name]


def _decoded(path: UPath, data: bytes) -> str:
    """Return a file's text, without the mark that some editors put before it."""
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(
            f"{path}: byte {error.start} (line {line}) is no UTF-8 ({error.reason}); convert the file to"
            " UTF-8 or leave it out"
        ) from error


def _no_text(row: object, key: str) -> str:
    """Return why a JSON line has no text: the key is absent, or holds null or something else."""
    set_key = "set corpus.text_column to the key that holds the text"
    if not isinstance(row, dict):
        return f"a {_kind(row)} where an object with the key {key!r} belongs; correct or remove the line"
    if key not in row:
        return f"no key {key!r} (found {_listed(map(str, row))}); {set_key}"
    if row[key] is None:
        return f"{key!r} is null; remove lines without text"
    return f"{key!r} holds a {_kind(row[key])}, no text; {set_key}"


def _kind(value: object) -> str:
    """Return what JSON calls a value."""
    names = {dict: "object", list: "list", str: "text", bool: "boolean", type(None): "null"}
    return names.get(type(value), "number")


def _no_column(schema: Mapping[str, Any], name: str) -> str:
    """Return why a Parquet file has no column of text, or ""."""
    columns = _listed(f"{column} ({dtype})" for column, dtype in schema.items())
    set_column = f"set corpus.text_column to a column of text (found {columns})"
    match schema.get(name):
        case pl.String():
            return ""
        case None:
            return f"has no column {name!r}; {set_column}"
        case pl.Null():
            return f"column {name!r} is null in every row; {set_column}"
        case other:
            return f"column {name!r} holds {other}, no text; {set_column}"


def _listed(names: Iterable[str]) -> str:
    """Return names as a list that stays readable where there are many or long ones."""
    some = [name[:80] for name in islice(names, 21)]
    return ", ".join([*some[:20], *(["..."] if len(some) > 20 else [])]) or "nothing"


def _fault(error: ValueError | RecursionError) -> str:
    """Return what is wrong with a JSON line."""
    match error:
        case json.JSONDecodeError():
            return f"{error.msg}, column {error.colno}"
        case RecursionError():
            return "nested too deeply"
        case _:
            return "a number has too many digits"
