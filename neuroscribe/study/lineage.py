"""Whether a table still belongs to the study as it stands and to the tables that it was made from.

Every file carries a stamp (see `neuroscribe.tables.parquet`): which stage wrote it, the hash of its rows, and
the hashes of the tables that went into it. A table is current if that chain holds back to the corpus.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from neuroscribe.fingerprint import fingerprint
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, provenance, stage_identity, stages_of, upstream_of
from neuroscribe.tables.columns import Table
from neuroscribe.tables.parquet import Stamp


@runtime_checkable
class StampReader(Protocol):
    """Reads the stamps of tables."""

    def stamp(self, study: str, table: str, layer: int | None = None) -> Stamp | None:
        """Return a file's stamp, or None if there is no whole file."""
        ...


class Lineage:
    """The chain of one study's tables; stamps are read once, so make a new one when files have changed."""

    def __init__(self, study: str, tables: StampReader) -> None:
        self._study, self._tables = study, tables
        self._stamps: dict[tuple[str, int | None], Stamp | None] = {}

    def inputs(self, stage: str, layer: int | None) -> str:
        """Return the hash of all tables that a stage makes a layer's tables from, as they are now.

        What a study lacks is left out, so that a stage that has come since makes no old table look stale.
        """
        contents = [
            [table.name, None if (stamp := self._stamp(table, layer)) is None else stamp.content]
            for upstream in (STAGES[stage].reads if stage in STAGES else ())
            for table in STAGES[upstream].tables
            if not (STAGES[upstream].is_optional and self._stamp(table, layer) is None)
        ]
        return fingerprint("inputs", contents)[:32]

    def holds(self, stage: str, layer: int | None) -> bool:
        """Tell whether a stage's tables were made from what is there now."""
        wanted = self.inputs(stage, layer)
        return all(stamp is not None and stamp.inputs == wanted for stamp in self._stamps_of(stage, layer))

    def is_current(self, study: Study, stage: str, layer: int | None) -> bool:
        """Tell whether a stage's tables, and all before them, are what the study makes of what is there."""
        if stage not in stages_of(study):
            return False
        identity = stage_identity(study, stage)
        return (
            all(stamp is not None and stamp.identity == identity for stamp in self._stamps_of(stage, layer))
            and self.holds(stage, layer)
            and all(self.is_current(study, upstream, layer) for upstream in upstream_of(study, stage))
        )

    def why_anew(self, study: Study, stage: str, layer: int | None) -> str | None:
        """Return why a stage's tables that are there are made again; None for current ones and for none."""
        stamps = [stamp for stamp in self._stamps_of(stage, layer) if stamp is not None]
        if not stamps or self.is_current(study, stage, layer):
            return None
        written, now = stamps[0].code_version, provenance(study, stage)["code_version"]
        if written and written != now:
            return f"{written} made them, and {now} makes them otherwise (CHANGELOG.md)"
        if stamps[0].identity != stage_identity(study, stage):
            return "the study's settings, or stages before them, have changed since they were made"
        return "the tables that they were made from have changed since"

    def _stamps_of(self, stage: str, layer: int | None) -> Sequence[Stamp | None]:
        return [self._stamp(table, layer) for table in STAGES[stage].tables]

    def _stamp(self, table: Table, layer: int | None) -> Stamp | None:
        place = (table.name, layer if table.per_layer else None)
        if place not in self._stamps:
            self._stamps[place] = self._tables.stamp(self._study, *place)
        return self._stamps[place]
