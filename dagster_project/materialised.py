"""The latest materialisations of a layer, as Dagster's history has them: run, time and commit of the code."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.stage import key
from neuroscribe.report.trace.tables import traced_stages
from neuroscribe.report.trace.tree import Materialised
from neuroscribe.study.spec import Study, layer_key
from neuroscribe.study.stages import STAGES
from resources.store.tables import COMMIT_KEY, Tables

_ELSEWHERE = "this run wrote into another store: "


def materialised(
    instance: dg.DagsterInstance, study: Study, layer: int, tables: Tables
) -> tuple[Materialised, ...]:
    """Return the latest materialisation of every stage that a layer's results rest on, in their order."""
    return tuple(_of_stage(instance, study, stage, layer, tables) for stage in traced_stages(study))


def text_revision(instance: dg.DagsterInstance, study: Study) -> str | None:
    """Return the revision of the text that the latest corpus was made from, None where that is not known."""
    record = _latest(instance, study, "corpus", 0)
    return None if record is None else _told(record, "text_revision")


def _of_stage(
    instance: dg.DagsterInstance, study: Study, stage: str, layer: int, tables: Tables
) -> Materialised:
    record = _latest(instance, study, stage, layer)
    if record is None:
        return Materialised(stage, None)
    time = datetime.fromtimestamp(record.timestamp, UTC).isoformat(timespec="seconds")
    (first, *others), per_layer = STAGES[stage].tables, STAGES[stage].per_layer
    prefix = f"{first.name}/uri" if others else "dagster/uri"
    wrote = _told(record, prefix)
    here = tables.uri(study.name, first.name, layer if per_layer else None)
    note = f"{_ELSEWHERE}{wrote}" if wrote is not None and wrote != here else ""
    return Materialised(stage, record.run_id, time, _told(record, COMMIT_KEY), note)


def _latest(instance: dg.DagsterInstance, study: Study, stage: str, layer: int) -> dg.EventLogRecord | None:
    """Return the latest materialisation of a stage's asset: of the layer's partition, where it has some."""
    partitions = [layer_key(layer)] if STAGES[stage].per_layer else None
    wanted = dg.AssetRecordsFilter(asset_key=key(study, stage), asset_partitions=partitions)
    return next(iter(instance.fetch_materializations(wanted, limit=1).records), None)


def _told(record: dg.EventLogRecord, name: str) -> str | None:
    """Return what a materialisation says under a name."""
    event = record.asset_materialization
    metadata: Mapping[str, Any] = event.metadata if event else {}
    return str(metadata[name].value) if name in metadata else None
