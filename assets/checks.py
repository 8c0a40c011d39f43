"""Data-quality checks on scores and descriptions: the core's rules, one Dagster check each, per layer."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl

from assets.partitions import partitions_of
from assets.stage import key
from neuroscribe.describe.rules import RULES as DESCRIPTION_RULES
from neuroscribe.describe.rules import verdicts as description_verdicts
from neuroscribe.ports.checks import Validator, Verdict
from neuroscribe.ports.frames import LayerFrames
from neuroscribe.score.rules import rules_for, verdicts
from neuroscribe.study.spec import Study

_SHOWN = 50
"""Failing rows shown in the UI; the table itself has them all."""


def score_checks(study: Study) -> dg.AssetChecksDefinition:
    """Return the checks on a study's scores; a failed error blocks what comes after in the same run."""
    specs = [
        dg.AssetCheckSpec(
            rule.name,
            asset=key(study, "scores"),
            description=rule.description,
            additional_deps=[key(study, "explanations")],
            blocking=rule.severity == "error",
            partitions_def=partitions_of(study, "scores"),
        )
        for rule in rules_for(study)
    ]

    @dg.multi_asset_check(
        name=f"{study.name}_score_checks",
        specs=specs,
        ins={name: dg.AssetIn(key=key(study, name)) for name in ("scores", "explanations")},
    )
    def checks(
        context: dg.AssetCheckExecutionContext,
        scores: LayerFrames,
        explanations: LayerFrames,
        expectations: dg.ResourceParam[Validator],
    ) -> Iterator[dg.AssetCheckResult]:
        of_all_layers = verdicts(
            expectations,
            scores=pl.concat(scores.values()),
            explanations=pl.concat(explanations.values()),
            study=study,
            name=f"{study.name} {', '.join(scores)}",
        )
        if context.has_partition_key_range:
            _log_each_layer(context, study, scores, explanations, expectations)
        for verdict in of_all_layers:
            yield _result(key(study, "scores"), verdict)

    return checks


def description_checks(study: Study) -> dg.AssetChecksDefinition:
    """Return the checks on a study's descriptions, which warn and block nothing."""
    asset = key(study, "descriptions")
    specs = [
        dg.AssetCheckSpec(
            rule.name,
            asset=asset,
            description=rule.description,
            partitions_def=partitions_of(study, "descriptions"),
        )
        for rule in DESCRIPTION_RULES
    ]

    @dg.multi_asset_check(
        name=f"{study.name}_description_checks", specs=specs, ins={"descriptions": dg.AssetIn(key=asset)}
    )
    def checks(
        descriptions: LayerFrames, expectations: dg.ResourceParam[Validator]
    ) -> Iterator[dg.AssetCheckResult]:
        name = f"{study.name} {', '.join(descriptions)}"
        for verdict in description_verdicts(expectations, pl.concat(descriptions.values()), name=name):
            yield _result(asset, verdict)

    return checks


def _result(asset: dg.AssetKey, verdict: Verdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(**_facts(asset, verdict), description=verdict.observed)


def _log_each_layer(
    context: dg.AssetCheckExecutionContext,
    study: Study,
    scores: LayerFrames,
    explanations: LayerFrames,
    expectations: Validator,
) -> None:
    """Report per layer in a run over a range, where Dagster keeps one result for the whole of it."""
    for layer, frame in scores.items():
        for verdict in verdicts(
            expectations,
            scores=frame,
            explanations=explanations.get(layer, frame.clear()),
            study=study,
            name=f"{study.name} {layer}",
        ):
            context.op_execution_context.log_event(
                dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType]  - log_event takes it
                    **_facts(key(study, "scores"), verdict),
                    partition=layer,
                    blocking=verdict.severity == "error",
                )
            )


def _facts(asset: dg.AssetKey, verdict: Verdict) -> dict[str, Any]:
    """Return what Dagster is told of a verdict, be it on one layer or on all."""
    is_error = verdict.severity == "error"
    return {
        "asset_key": asset,
        "check_name": verdict.rule,
        "passed": verdict.passed,
        "severity": dg.AssetCheckSeverity.ERROR if is_error else dg.AssetCheckSeverity.WARN,
        "metadata": _metadata(verdict),
    }


def _metadata(verdict: Verdict) -> dict[str, dg.MetadataValue]:
    metadata: dict[str, dg.MetadataValue] = {
        "rule": dg.MetadataValue.text(verdict.description),
        "finding": dg.MetadataValue.text(verdict.observed),
    }
    if verdict.measure is not None:
        metadata["measure"] = dg.MetadataValue.float(float(verdict.measure))
    if verdict.failing:
        names = list(verdict.failing[0])
        metadata["failing_neurons"] = dg.MetadataValue.table(
            [dg.TableRecord({name: str(row[name]) for name in names}) for row in verdict.failing[:_SHOWN]],
            schema=dg.TableSchema(columns=[dg.TableColumn(name) for name in names]),
        )
    return metadata
