"""Data-quality checks: the core's rules, one Dagster check each, on the asset whose tables they are about.

They run after their asset, or alone. Per layer an evaluation is kept, whatever the run: of one layer, of a
range, or, without a partition, of every layer that there is (so the page's button "Execute all" asks).
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.evaluations import Record, failures, totals
from assets.layers import plain_failures
from assets.partitions import partitions_of
from assets.stage import key
from neuroscribe.capture.rules import ActivationSuite, CorpusSuite, RecordSuite
from neuroscribe.describe.rules import DescriptionSuite
from neuroscribe.errors import StoreError
from neuroscribe.explain.rules import ExplanationSuite
from neuroscribe.ports.checks import Severity, Suite, Validator, Verdict, examined
from neuroscribe.ports.sources import TableReader
from neuroscribe.score.comparisons import ScoreSuite, nearest
from neuroscribe.study.lineage import Lineage
from neuroscribe.study.spec import Study, layer_key, layer_of
from neuroscribe.study.stages import STAGES

SUITES: Mapping[str, Suite] = {
    suite.stage: suite
    for suite in (
        CorpusSuite(), ActivationSuite(), RecordSuite(), ExplanationSuite(), ScoreSuite(), DescriptionSuite(),
    )
}  # fmt: skip
"""What is examined, by the stage that it is about."""


Events = Iterator[dg.AssetCheckEvaluation | dg.AssetObservation | dg.Output[None]]


def study_checks(study: Study) -> list[dg.AssetChecksDefinition]:
    """Return all checks of a study; a failed error blocks what comes after in the same run."""
    return [_checks(study, suite) for suite in SUITES.values()]


def check_keys(study: Study, stage: str, *, severity: Severity | None = None) -> list[dg.AssetCheckKey]:
    """Return the keys of the checks on a stage's asset, of one severity or of both."""
    rules = SUITES[stage].rules(study) if stage in SUITES else ()
    wanted = [rule.name for rule in rules if severity in (None, rule.severity)]
    return [dg.AssetCheckKey(key(study, stage), name) for name in wanted]


@dataclass(frozen=True)
class _Examination:
    """One suite of a study, examined in one run."""

    study: Study
    suite: Suite
    instance: dg.DagsterInstance
    tables: TableReader
    validator: Validator
    selected: Collection[str]
    """Names of the rules that the run asks for."""

    def record(self, layer: int | None) -> Record:
        """Return Dagster's record of what is examined."""
        return Record(self.study, self.suite.stage, layer, self.instance)

    def verdicts(self, layer: int | None, *, only: Collection[str] | None = None) -> list[Verdict]:
        """Examine one layer by the rules that are selected, or of these `only` some."""
        wanted = self.selected if only is None else {*self.selected} & {*only}
        rules = [rule for rule in self.suite.rules(self.study) if rule.name in wanted]
        record = self.record(layer)
        rows = self.suite.rows(self.study, layer, self.tables, record.told())
        where = record.partition or "all"
        return examined(self.validator, rules, rows, name=f"{self.study.name} {self.suite.stage} {where}")

    def events(self, found: Mapping[int | None, Sequence[Verdict]]) -> Events:
        """Yield an evaluation per layer and rule, and counts where all rules were asked for."""
        for layer, verdicts in found.items():
            record = self.record(layer)
            yield from record.evaluations(verdicts)
            if len(self.selected) == len(self.suite.rules(self.study)):
                yield record.count(verdicts)

    def events_beside(self, layers: Sequence[int | None]) -> Events:
        """Yield evaluations of the nearest other layers, by the rules that hold them against these."""
        if not {*self.suite.beside} & {*self.selected}:
            return
        there = self.tables.layers(self.study.name, self.suite.stage)
        around = {other for layer in layers if layer is not None for other in nearest(layer, there)}
        for layer in sorted(around - {*layers}):
            yield from self.record(layer).evaluations(self.verdicts(layer, only=self.suite.beside))


def _checks(study: Study, suite: Suite) -> dg.AssetChecksDefinition:
    specs = [
        dg.AssetCheckSpec(
            rule.name,
            asset=key(study, suite.stage),
            description=rule.description,
            additional_deps=[key(study, name) for name in suite.reads],
            blocking=rule.severity == "error",
            partitions_def=partitions_of(study, suite.stage),
        )
        for rule in suite.rules(study)
    ]
    outputs = {spec.name: spec.get_python_identifier() for spec in specs}

    def checks(
        context: dg.AssetCheckExecutionContext,
        tables: dg.ResourceParam[TableReader],
        expectations: dg.ResourceParam[Validator],
    ) -> Events:
        selected = sorted(check.name for check in context.selected_asset_check_keys)
        examination = _Examination(study, suite, context.instance, tables, expectations, selected)
        with plain_failures():
            layers = _layers(context, study, suite.stage, tables)
            found = {layer: examination.verdicts(layer) for layer in layers}
            yield from examination.events(found)
            yield from examination.events_beside(layers)
        if STAGES[suite.stage].per_layer and not _has_partitions(context):
            yield from totals(study, suite.stage, found)
        if said := failures(suite.stage, found):
            context.log.warning(said)
        for name in selected:
            yield dg.Output(None, outputs[name])

    decorate: Any = dg.multi_asset_check(
        name=f"{study.name}_{suite.stage}_checks", specs=specs, can_subset=True
    )
    return decorate(checks)


def _has_partitions(context: dg.AssetCheckExecutionContext) -> bool:
    return context.has_partition_key or context.has_partition_key_range


def _layers(
    context: dg.AssetCheckExecutionContext, study: Study, stage: str, tables: TableReader
) -> Sequence[int | None]:
    """Return the layers of the run, or without partitions all that there are; None for what has no layers.

    Raises StoreError where what is to be checked is not there, or was made from other tables than those there
    now.
    """
    lineage = Lineage(study.name, tables)
    wanted: Sequence[int | None] = [None]
    if STAGES[stage].per_layer and _has_partitions(context):
        wanted = sorted(layer_of(partition) for partition in context.partition_keys)
    elif STAGES[stage].per_layer:
        (table,) = STAGES[stage].tables
        wanted = [each for each in tables.layers(study.name, table.name) if lineage.holds(stage, each)]
    unsound = [layer for layer in wanted if not lineage.holds(stage, layer)]
    if unsound or not wanted:
        which = [f" for {layer_key(layer)}" for layer in unsound if layer is not None]
        raise StoreError(
            f"asset {study.name}/{stage} has no tables{','.join(which)} that were made from those there now;"
            " materialise it first"
        )
    return wanted
