"""The tables of one layer, each read when it is first asked for, and their stamps."""

from collections.abc import Iterator, Mapping

import polars as pl

from neuroscribe.errors import StudyError
from neuroscribe.ports.sources import TableReader
from neuroscribe.report.trace.tree import TracedTable
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, TABLES, stages_of


class LayerTables(Mapping[str, pl.DataFrame]):
    """The tables of a study that a layer's results rest on; raises StoreError for one that is not there."""

    def __init__(self, study: Study, layer: int, reader: TableReader) -> None:
        self._study, self._layer, self._reader = study, layer, reader
        self._names = [table.name for stage in traced_stages(study) for table in STAGES[stage].tables]
        self._read: dict[str, pl.DataFrame] = {}

    def __getitem__(self, name: str) -> pl.DataFrame:
        """Return a table."""
        if name not in self._names:
            raise KeyError(name)
        if name not in self._read:
            place = self._layer if TABLES[name].per_layer else None
            self._read[name] = self._reader.read(self._study.name, name, place)
        return self._read[name]

    def __contains__(self, name: object) -> bool:
        """Tell whether the study has such a table, without reading it."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """Yield the names, in the order of the stages."""
        return iter(self._names)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._names)


def traced_stages(study: Study) -> tuple[str, ...]:
    """Return the stages of a study that make tables, in order."""
    return tuple(name for name in stages_of(study) if STAGES[name].tables)


def check_layer(study: Study, layer: int, reader: TableReader) -> None:
    """Raise StudyError, which says what there is, for a layer that is not explained while others are."""
    there = reader.layers(study.name, "explanations")
    if there and layer not in there:
        raise StudyError(
            f"layer {layer} of study {study.name} is not explained; those that are:"
            f" {', '.join(map(str, there))} (python -m dagster_project.run {study.name} --layers {layer}"
            " explains it)"
        )


def traced_tables(study: Study, layer: int, reader: TableReader) -> tuple[TracedTable, ...]:
    """Return the stamps of all tables that a layer's results rest on, in the order of the stages."""
    lineage = Lineage(study.name, reader)
    return tuple(
        _traced(study, layer, stage, table, reader, lineage)
        for stage in traced_stages(study)
        for table in (each.name for each in STAGES[stage].tables)
    )


def _traced(
    study: Study, layer: int, stage: str, table: str, reader: TableReader, lineage: Lineage
) -> TracedTable:
    place = layer if TABLES[table].per_layer else None
    stamp = reader.stamp(study.name, table, place)
    if stamp is None:
        return TracedTable(table, place, "", "", "", "", is_current=False, note=_absent(study, stage))
    is_current = lineage.is_current(study, stage, layer)
    return TracedTable(
        table,
        place,
        stamp.identity,
        stamp.content,
        stamp.inputs,
        stamp.code_version,
        is_current=is_current,
        note="" if is_current else lineage.why_anew(study, stage, layer) or "",
    )


def _absent(study: Study, stage: str) -> str:
    return f"not there; materialise asset {study.name}/{stage}"
