"""The published dataset: all tables with schema, manifest and checksums."""

import dagster as dg

from assets.stage import stage
from neuroscribe.ports.checks import Validator
from neuroscribe.ports.sources import LicenceSource, SubjectSource, TableReader
from neuroscribe.ports.stores import DatasetStore
from neuroscribe.publish.layouts import chosen_layouts
from neuroscribe.study.spec import Study


def neuron_dataset(study: Study) -> dg.AssetsDefinition:
    """Return the asset `neuron_dataset` of a study; raises StudyError for a layout that there is not."""
    chosen_layouts(study)

    @stage(
        study,
        "neuron_dataset",
        description="Parquet files with declared columns, a card, a manifest and checksums; published"
        " whole or not at all, and only while all scores pass their checks.",
        kinds={"parquet", "greatexpectations"},
    )
    def asset(
        context: dg.AssetExecutionContext,
        tables: dg.ResourceParam[TableReader],
        datasets: dg.ResourceParam[DatasetStore],
        expectations: dg.ResourceParam[Validator],
        licences: dg.ResourceParam[LicenceSource],
        subject: dg.ResourceParam[SubjectSource],
    ) -> dg.MaterializeResult:
        from assets.standing import standing
        from neuroscribe.publish.stage import publish
        from neuroscribe.report.checks import FAILS, WARNS, standing_markdown

        checked = standing(study, context.instance)
        done = publish(
            study,
            tables=tables,
            datasets=datasets,
            expectations=expectations,
            licences=licences.licences(),
            units=subject.units(study.subject),
        )
        return dg.MaterializeResult(
            data_version=dg.DataVersion(done.manifest_sha256),
            metadata={
                "dagster/uri": done.uri,
                "files": done.file_count,
                "dagster/row_count": done.rows,
                "bytes": done.bytes,
                "manifest_sha256": done.manifest_sha256,
                **dict(done.counts),
                "checks": dg.MetadataValue.md(standing_markdown(checked)),
                "checks_warn": len(checked.filter(status=WARNS)),
                "checks_fail": len(checked.filter(status=FAILS)),
            },
        )

    return asset
