"""Gathers a study's tables into its dataset, and refuses while any layer's scores break a rule."""

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial

from neuroscribe.errors import StoreError
from neuroscribe.ports.checks import Validator
from neuroscribe.ports.sources import TableReader
from neuroscribe.ports.stores import DatasetStore
from neuroscribe.publish.dataset import Published, neuron_dataset
from neuroscribe.publish.layout import Layout
from neuroscribe.publish.layouts import LAYOUTS, chosen_layouts
from neuroscribe.publish.tables import Place, PublishedTables
from neuroscribe.score.rules import verdicts
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, TABLES, provenance, stage_identity
from neuroscribe.subject.units.mlp_neurons import MLP_NEURONS
from neuroscribe.subject.units.unit import UnitKind


def publish(
    study: Study,
    *,
    tables: TableReader,
    datasets: DatasetStore,
    expectations: Validator,
    licences: Mapping[str, str],
    layouts: Mapping[str, Layout] = LAYOUTS,
    units: UnitKind = MLP_NEURONS,
) -> Published:
    """Publish every layer that there is, once all scores have passed the study's rules again.

    `layouts` are those that a study may name, `units` what its neurons are, for the card. Raises StudyError
    for a name that is not among the layouts, and StoreError naming layer, rule and finding when scores break
    a rule, and when nothing is scored.
    """
    chosen = chosen_layouts(study, layouts)
    places = tuple(_places(study, tables))
    published = PublishedTables(
        study,
        places,
        partial(tables.read, study.name),
        provenance=provenance(study, "neuron_dataset") | {"made_by": _made_by(study, tables, places)},
    )
    layers = published.layers("scores")
    if not layers:
        raise StoreError(
            f"study {study.name} has no scores to publish; materialise {study.name}/scores first"
        )
    for layer in layers:
        _check(study, layer, tables, expectations)
    return neuron_dataset(
        datasets,
        published,
        chosen,
        study_fingerprint=stage_identity(study, "neuron_dataset"),
        licences=licences,
        units=units,
    )


def _made_by(study: Study, tables: TableReader, places: Iterable[Place]) -> list[object]:
    """Return by which weights, machines and libraries the published tables were made, each once."""
    stamps = [tables.stamp(study.name, table, layer) for table, layer in places]
    return [json.loads(made) for made in dict.fromkeys(stamp.made_by for stamp in stamps if stamp) if made]


def _check(study: Study, layer: int, tables: TableReader, expectations: Validator) -> None:
    for verdict in verdicts(
        expectations,
        scores=tables.read(study.name, "scores", layer),
        explanations=tables.read(study.name, "explanations", layer),
        study=study,
        name=f"{study.name} layer {layer}",
    ):
        if not verdict.passed and verdict.severity == "error":
            raise StoreError(
                f"study {study.name}, layer {layer}: the scores break the rule {verdict.rule!r}"
                f" ({verdict.observed}); the dataset stays as it was, see the checks of {study.name}/scores"
            )


def _places(study: Study, tables: TableReader) -> Iterator[Place]:
    """Yield the tables, with those layers that the study as it stands makes of what is there.

    What is kept of a layer's sample is published where the layer is scored: a pass samples the layers between
    as well.
    """
    lineage = Lineage(study.name, tables)
    scored = {
        layer for layer in tables.layers(study.name, "scores") if lineage.is_current(study, "scores", layer)
    }
    for name, table in TABLES.items():
        if not table.published:
            continue
        if not table.per_layer:
            yield name, None
            continue
        for layer in tables.layers(study.name, name):
            stage = name.split("/")[0]
            is_beside = STAGES[stage].phase == "sample" and layer not in scored
            if not is_beside and lineage.is_current(study, stage, layer):
                yield name, layer
