"""Gathers a study's tables into its dataset, and refuses while any layer's scores break a rule."""

from collections.abc import Iterator, Mapping

from neuroscribe.errors import StoreError
from neuroscribe.lineage import Lineage
from neuroscribe.ports.checks import Validator
from neuroscribe.ports.sources import TableReader
from neuroscribe.ports.stores import DatasetStore
from neuroscribe.publish.dataset import Part, Published, neuron_dataset
from neuroscribe.score.rules import verdicts
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import provenance, stage_identity
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind
from neuroscribe.tables.records import TABLES


def publish(
    study: Study,
    *,
    tables: TableReader,
    datasets: DatasetStore,
    expectations: Validator,
    licences: Mapping[str, str],
    units: UnitKind = MLP_NEURONS,
) -> Published:
    """Publish every layer that there is, once all scores have passed the study's rules again.

    `units` are what the study names, which the card explains.
    Raises StoreError naming layer, rule and finding when scores break a rule, and when nothing is scored.
    """
    layers = _current(study, tables, "scores")
    if not layers:
        raise StoreError(
            f"study {study.name} has no scores to publish; materialise {study.name}/scores first"
        )
    for layer in layers:
        _check(study, layer, tables, expectations)
    return neuron_dataset(
        datasets,
        study,
        _parts(study, tables),
        study_fingerprint=stage_identity(study, "neuron_dataset"),
        provenance=provenance(study, "neuron_dataset"),
        licences=licences,
        units=units,
    )


def _check(study: Study, layer: int, tables: TableReader, expectations: Validator) -> None:
    found = verdicts(
        expectations,
        scores=tables.read(study.name, "scores", layer),
        explanations=tables.read(study.name, "explanations", layer),
        study=study,
        name=f"{study.name} layer {layer}",
    )
    for verdict in found:
        if not verdict.passed and verdict.severity == "error":
            raise StoreError(
                f"study {study.name}, layer {layer}: the scores break the rule {verdict.rule!r}"
                f" ({verdict.observed}); the dataset stays as it was, see the checks of {study.name}/scores"
            )


def _parts(study: Study, tables: TableReader) -> Iterator[Part]:
    for name, table in TABLES.items():
        layers: list[int | None] = list(_current(study, tables, name)) if table.per_layer else [None]
        for layer in layers:
            yield Part(name, layer, tables.read(study.name, name, layer))


def _current(study: Study, tables: TableReader, table: str) -> list[int]:
    """Return the layers of a table that the study as it stands makes of what is there; others are stale."""
    lineage = Lineage(study.name, tables)
    layers = tables.layers(study.name, table)
    return [layer for layer in layers if lineage.is_current(study, table.split("/")[0], layer)]
