"""The published dataset: a study's tables in its layouts, with manifest, card and checksums.

Same tables and study give the same bytes. Nothing here touches a disk: a `DatasetStore` takes a draft and
puts it in the place of the previous dataset as a whole.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from neuroscribe.errors import StoreError
from neuroscribe.fingerprint import canonical
from neuroscribe.ports.stores import DatasetStore
from neuroscribe.publish.card import Credit, credits_of, dataset_card
from neuroscribe.publish.draft import DatasetFile, DatasetFolder, Draft, sha256
from neuroscribe.publish.layout import Layout
from neuroscribe.publish.tables import PublishedTables, Totals
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.tables.columns import Table
from neuroscribe.tables.parquet import SCHEMA_VERSION

FORMAT_VERSION = 1
"""Raised when files move or the manifest's keys change their meaning."""


@dataclass(frozen=True)
class Published:
    """What was published and where."""

    uri: str
    files: tuple[DatasetFile, ...]
    folders: tuple[DatasetFolder, ...]
    """Files that are listed by folder, and not among `files`."""
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
        return sum(entry.bytes for entry in (*self.files, *self.folders))

    @property
    def file_count(self) -> int:
        """Number of all files but manifest and checksums."""
        return len(self.files) + sum(folder.files for folder in self.folders)


def neuron_dataset(
    store: DatasetStore,
    tables: PublishedTables,
    layouts: Iterable[Layout],
    *,
    study_fingerprint: str,
    licences: Mapping[str, str] | None = None,
    units: UnitKind = MLP_NEURONS,
) -> Published:
    """Publish tables, in some layouts, as their study's dataset.

    Files are taken from the layouts one by one, so that they need not be in memory together. `licences` maps
    artefact or model names to a sentence; `units` say what a neuron is. Raises StoreError when there is
    nothing to publish, when a frame does not fit its table, and for a path that is taken or leaves its
    layout's folder.
    """
    study = tables.study
    if not tables.places:
        raise StoreError(f"study {study.name} has no tables to publish; materialise its assets first")
    credits = credits_of(study, licences or {})
    with store.draft(study.name) as write:
        draft = Draft(write)
        for layout in layouts:
            draft.add_layout(layout, tables)
        totals = tables.totals()
        counts, folders = totals.counts, draft.folders
        draft.add_card(
            dataset_card(study, totals.tables, counts=counts, credits=credits, folders=folders, units=units)
        )
        manifest = _json(_manifest(tables, totals, draft, study_fingerprint, credits))
        draft.finish(manifest)
    return Published(
        store.uri(study.name), tuple(draft.files), tuple(draft.folders), totals.counts, sha256(manifest)
    )


def rebased(manifest: bytes, base: str) -> bytes:
    """Return a manifest whose paths are relative to the folder `base` beside it."""
    return _json({**json.loads(manifest), "base": base})


_ADDRESS = {"base_url"}
_UNPUBLISHED: Any = {
    "name": True, "description": True, "publish": True, "llm": _ADDRESS, "simulator_llm": _ADDRESS,
    "paraphraser_llm": _ADDRESS,
}  # fmt: skip
"""Settings that are told elsewhere, or are nobody's business."""


def _manifest(
    tables: PublishedTables, totals: Totals, draft: Draft, study_fingerprint: str, credits: Iterable[Credit]
) -> dict[str, Any]:
    study = tables.study
    folders = {"folders": [vars(folder) for folder in draft.folders]}
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
        "provenance": canonical(tables.provenance),
        "licences": [vars(credit) for credit in credits],
        "counts": totals.counts,
        "nulls": totals.nulls,
        "tables": {table.name: _declaration(table) for table in totals.tables},
        "files": [vars(file) for file in draft.files],
        **(folders if draft.folders else {}),
    }


def _declaration(table: Table) -> dict[str, Any]:
    told = ("name", "dtype", "description", "nullable")
    columns = [{fact: getattr(column, fact) for fact in told} for column in table.columns]
    return {
        "description": table.description,
        "key": table.key,
        "columns": [column | {"dtype": str(column["dtype"])} for column in columns],
    }


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
