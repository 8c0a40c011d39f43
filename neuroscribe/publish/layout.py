"""What a layout is: a form in which a study's tables leave the store, as a stream of files."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from neuroscribe.publish.tables import PublishedTables


@dataclass(frozen=True)
class LayoutFile:
    """One file of a layout.

    A file that is a table, or a layer of one, names it and is listed by itself in the manifest. All others
    are listed together, by the folder of their layout.
    """

    path: str
    """Below the layout's folder, with `/` between names."""
    chunks: Iterable[bytes]
    """Its bytes, taken once and in order, so that they need not be in memory together."""
    rows: int | None = None
    table: str | None = None
    layer: int | None = None


@runtime_checkable
class Layout(Protocol):
    """A form of the published tables; the same tables must give the same bytes."""

    @property
    def folder(self) -> str:
        """Where its files lie in a dataset; no other layout writes there."""
        ...

    @property
    def description(self) -> str:
        """What its files are, in a sentence for the card."""
        ...

    def files(self, tables: PublishedTables) -> Iterator[LayoutFile]:
        """Yield the files one by one; each is written before the next is asked for."""
        ...
