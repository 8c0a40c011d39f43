"""What runs by itself: the nightly refill of each study, a look for new texts, and word of what failed.

All of it is stopped until a user starts it, but for the word of failures, which runs where it has an address.
"""

from collections.abc import Iterable

import dagster as dg

from assets.stage import key
from dagster_project.conditions import Evaluated, nightly
from neuroscribe.errors import NeuroscribeError
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.spec import Study
from resources.alerts import Webhook
from resources.texts import listing

EVERY_S = 60
"""How often a night's conditions, and the folders of texts, are looked at."""
STUDY = "neuroscribe/study"
"""Tag of runs: the study whose assets they make."""


def with_conditions(
    study: Study,
    assets: Iterable[dg.AssetsDefinition],
    tables: TableReader,
    *,
    layers_per_night: int | None,
) -> list[dg.AssetsDefinition]:
    """Return a study's assets with the condition on which each is made at night."""
    condition = nightly(Evaluated(study, tables, layers_per_night=layers_per_night))
    return list(
        dg.map_asset_specs(lambda spec: spec.replace_attributes(automation_condition=condition), assets)
    )


def sensors(study: Study, *, endpoint_url: str | None) -> list[dg.SensorDefinition]:
    """Return a study's sensors: its nights, and, where it reads files, new ones among them."""
    nights = dg.AutomationConditionSensorDefinition(
        f"{study.name}_nightly",
        target=dg.AssetSelection.groups(study.name),
        description="At 1 o'clock asks for what the study lacks, and for what its settings, prompts, weights,"
        " texts or code have made stale; each asset's tab Automation shows why. NEUROSCRIBE_NIGHTLY_LAYERS"
        " limits the layers explained in a night, NEUROSCRIBE_LLM_BUDGET_USD what they cost.",
        run_tags={STUDY: study.name},
        minimum_interval_seconds=EVERY_S,
        use_user_code_server=True,  # the conditions are our own
    )
    return [nights, _new_texts(study, endpoint_url)] if study.corpus.files else [nights]


def _new_texts(study: Study, endpoint_url: str | None) -> dg.SensorDefinition:
    """Return a sensor that asks for the corpus anew when its files have changed and stay as they are."""
    corpus = key(study, "corpus")

    @dg.sensor(
        name=f"{study.name}_new_texts",
        target=dg.AssetSelection.assets(corpus),
        minimum_interval_seconds=EVERY_S,
        description=f"Makes the corpus anew when files come, go or change among {study.corpus.files}; what"
        " rests on it is made the next night.",
    )
    def new_texts(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        try:
            now = listing(study.corpus, endpoint_url=endpoint_url)
        except NeuroscribeError as error:
            return dg.SkipReason(str(error))
        read, _, seen = (context.cursor or f"{now} {now}").partition(" ")
        cursor = f"{read} {now}"
        if now == read or now != seen:  # files that are still being copied are not read
            words = (
                "no file has changed" if now == read else "files have changed; waiting for the last to end"
            )
            return dg.SensorResult(skip_reason=words, cursor=cursor)
        request = dg.RunRequest(run_key=now, asset_selection=[corpus], tags={STUDY: study.name})
        return dg.SensorResult([request], cursor=f"{now} {now}")

    return new_texts


def failure_alert(webhook: Webhook) -> dg.SensorDefinition:
    """Return a sensor that tells an address of each run that failed."""

    @dg.run_failure_sensor(
        name="failure_alert",
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Posts a JSON message for each run that failed to the address in NEUROSCRIBE_ALERT_URL.",
    )
    def failed(context: dg.RunFailureSensorContext) -> None:
        run = context.dagster_run
        said = [event.step_failure_data for event in context.get_step_failure_events()]
        first = next((data.user_failure_data or data.error for data in said if data), None)
        message = getattr(first, "description", None) or getattr(first, "message", None)
        webhook.post(
            {
                "run": run.run_id,
                "job": run.job_name,
                "study": run.tags.get(STUDY, ""),
                "partition": run.tags.get("dagster/partition", ""),
                "backfill": run.tags.get("dagster/backfill", ""),
                "error": (message or context.failure_event.message or "no error was recorded").strip(),
            }
        )

    return failed
