"""What a study wants made each night, as conditions that Dagster evaluates and shows the reasons of.

Dagster's own conditions see events of one instance; whether a table still belongs to its study, its files say
(see `freshness`). So these two ask the files, and the rest is put together from Dagster's.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import dagster as dg

from dagster_project.freshness import Freshness
from neuroscribe.ports.sources import TableReader
from neuroscribe.study.spec import Study, layer_key
from neuroscribe.study.stages import STAGES

CRON = "0 1 * * *"
"""When a night begins, in the time zone of the daemon's settings (UTC unless they name another)."""


class Evaluated:
    """A study's freshness as of one evaluation, which all of its conditions share: files are read once."""

    def __init__(self, study: Study, tables: TableReader, *, layers_per_night: int | None) -> None:
        self.study, self.layers_per_night = study, layers_per_night
        self._tables = tables
        self._at: datetime | None = None
        self._freshness: Freshness | None = None

    def freshness(self, context: dg.AutomationContext) -> Freshness:
        """Return what is up to date as of the evaluation of a context."""
        if self._freshness is None or self._at != context.evaluation_time:
            instance = context.asset_graph_view.instance
            self._at, self._freshness = context.evaluation_time, Freshness(self.study, instance, self._tables)
        return self._freshness


class OutOfDate(dg.AutomationCondition[Any]):
    """True for what is missing, or what the study, its code and its inputs make otherwise now."""

    def __init__(self, evaluated: Evaluated) -> None:
        self._evaluated = evaluated

    @property
    def name(self) -> str:
        """The name that the page shows."""
        return "out_of_date"

    @property
    def description(self) -> str:
        """What the page shows beside the name."""
        return "Missing, stale by what its file says, blocked by a check, or with calls that failed"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Return the candidates that are out of date."""
        return _among(context, lambda: self._evaluated.freshness(context).out_of_date(context.key.path[-1]))


class Tonights(dg.AutomationCondition[Any]):
    """True for the layers that a night may explain: the first of the study's sample that lack something.

    What captures is not limited: all of its layers go through the subject together.
    """

    def __init__(self, evaluated: Evaluated) -> None:
        self._evaluated = evaluated

    @property
    def name(self) -> str:
        """The name that the page shows."""
        return "tonights_layers"

    @property
    def description(self) -> str:
        """What the page shows beside the name."""
        limit = self._evaluated.layers_per_night
        return "Every layer" if limit is None else f"Among the first {limit} layers to be explained"

    def evaluate(self, context: dg.AutomationContext) -> dg.AutomationResult:
        """Return the candidates that are among tonight's layers."""
        if self._evaluated.layers_per_night is None or STAGES[context.key.path[-1]].phase != "explain":
            return dg.AutomationResult(context, context.candidate_subset)
        return _among(context, lambda: self._tonights(context))

    def _tonights(self, context: dg.AutomationContext) -> set[int | None]:
        freshness = self._evaluated.freshness(context)
        stages = [stage.name for stage in freshness.stages if stage.phase == "explain"]
        lacking = {layer for stage in stages for layer in freshness.out_of_date(stage) if layer is not None}
        return {*sorted(lacking)[: self._evaluated.layers_per_night]}


def nightly(evaluated: Evaluated) -> dg.AutomationCondition[Any]:
    """Return when an asset of a study is asked for: once a night, when it is out of date and can be made.

    What is chosen at the beginning of a night stays chosen until it is asked for, so that what rests on
    something asked for as well comes after it; what fails then is asked for again the next night.
    """
    out_of_date = OutOfDate(evaluated)
    begins: dg.AutomationCondition[Any] = dg.AutomationCondition.cron_tick_passed(CRON)
    tonights: Any = begins & Tonights(evaluated)
    chosen = tonights.since_last_handled().with_label("chosen_for_tonight")
    awaited = out_of_date & ~dg.AutomationCondition.will_be_requested()
    rests_on_awaited = dg.AutomationCondition.any_deps_match(awaited)
    can_be_made = (~rests_on_awaited).with_label("all_that_it_rests_on_is_there")
    is_not_under_way = (~dg.AutomationCondition.in_progress()).with_label("neither_running_nor_queued")
    return chosen & out_of_date & can_be_made & is_not_under_way


def _among(context: dg.AutomationContext, layers: Callable[[], set[int | None]]) -> dg.AutomationResult:
    """Return the candidates that are among some layers; None stands for an asset that is of no layer.

    The layers are looked up only where there are candidates.
    """
    candidates = context.candidate_subset
    if candidates.is_empty:
        return dg.AutomationResult(context, context.get_empty_subset())
    found = layers()
    partitions = context.partitions_def
    if partitions is None:
        return dg.AutomationResult(context, candidates if None in found else context.get_empty_subset())
    keys = {layer_key(layer) for layer in found if layer is not None} & {*partitions.get_partition_keys()}
    subset = context.asset_graph_view.get_subset_from_partition_keys(context.key, partitions, keys)
    return dg.AutomationResult(context, candidates.compute_intersection(subset))
