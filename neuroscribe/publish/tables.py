"""The tables that a dataset holds, read a layer at a time, and the numbers they add up to."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import polars as pl

from neuroscribe.errors import StoreError
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import TABLES
from neuroscribe.tables.columns import Table

Place = tuple[str, int | None]
"""A table without layers, or a layer of one that has them."""


@dataclass(frozen=True)
class Totals:
    """What the manifest and the card say of all layers together."""

    tables: tuple[Table, ...]
    counts: Mapping[str, int]
    """Numbers defined in `neuroscribe.glossary.COUNTS`."""
    nulls: Mapping[str, Mapping[str, int]]
    """Nulls by table and column, where there are any."""


class PublishedTables:
    """What a layout reads: a study's tables, as far as they are published, and the study."""

    def __init__(
        self,
        study: Study,
        places: Iterable[Place],
        read: Callable[[str, int | None], pl.DataFrame],
        *,
        provenance: Mapping[str, object],
    ) -> None:
        self.study = study
        self.places = tuple(places)
        self.provenance = provenance
        self._known = frozenset(self.places)
        self._read = read
        self._counts: dict[Place, dict[str, int]] = {}
        self._nulls: dict[Place, Counter[str]] = {}

    def layers(self, table: str) -> list[int]:
        """Return the published layers of a table, ascending; none for one that is not published."""
        return [layer for name, layer in self.places if name == table and layer is not None]

    def read(self, table: str, layer: int | None = None) -> pl.DataFrame:
        """Return one layer of a table, or a table without layers; raises StoreError for any other place.

        What it adds to the totals is counted the first time, so that no layer is read for that alone.
        """
        place = (table, layer)
        if place not in self._known:
            which = "" if layer is None else f" of layer {layer}"
            raise StoreError(
                f"the dataset of study {self.study.name} has no table {table}{which}; a layout reads what"
                " `places` and `layers` name"
            )
        frame = TABLES[table].checked(self._read(table, layer))
        if place not in self._counts:
            self._counts[place] = _counts(table, frame)
            self._nulls[place] = _nulls(TABLES[table], frame)
        return frame

    def totals(self) -> Totals:
        """Return the numbers of all layers, whatever order they were read in."""
        for place in self.places:
            if place not in self._counts:
                self.read(*place)
        counts: Counter[str] = Counter()
        nulls: dict[str, Counter[str]] = {}
        for place in self.places:
            counts.update(self._counts[place])
            nulls[place[0]] = nulls.get(place[0], Counter()) + self._nulls[place]
        return Totals(
            tuple(TABLES[name] for name in nulls),
            dict(counts),
            {name: dict(columns) for name, columns in nulls.items() if columns},
        )


def _counts(table: str, frame: pl.DataFrame) -> dict[str, int]:
    """Return what a layer adds to the numbers of the manifest; see `glossary.COUNTS`."""
    sides = ["layer", "neuron", "polarity"]
    match table:
        case "activations/statistics":
            return {"neurons": frame.height}
        case "explanations":
            explained = frame.filter(pl.col("status") == "ok", pl.col("draw") == 0).select(sides).n_unique()
            return {"explanations": frame.height, "explained": explained}
        case "scores":
            valued = frame.filter(pl.col("value").is_not_null())
            scored = valued.filter("chosen", split="test").select(sides).n_unique()
            return {"scored": scored, "scores": valued.height, "unscored": frame.height - valued.height}
        case _:
            return {}


def _nulls(table: Table, frame: pl.DataFrame) -> Counter[str]:
    """Return how many nulls each column holds, for those that hold any."""
    nulls = {column.name: frame[column.name].null_count() for column in table.columns}
    return Counter({name: count for name, count in nulls.items() if count})
