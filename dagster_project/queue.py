"""The queue of runs, which tags each with its study: by tags Dagster limits how many go at once."""

import dagster as dg

from dagster_project.automation import STUDY


class StudyQueue(dg.QueuedRunCoordinator):
    """Dagster's queue; runs that the page launches carry their study as a tag, too.

    Set in dagster.yaml, where `tag_concurrency_limits` says how many runs of a study go at once.
    """

    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        """Tag a run with its study, if it is one study's, and put it into the queue."""
        run = context.dagster_run
        keys = [*(run.asset_selection or ()), *(check.asset_key for check in run.asset_check_selection or ())]
        studies = {key.path[0] for key in keys if len(key.path) > 1}
        if len(studies) == 1 and STUDY not in run.tags:
            self._instance.add_run_tags(run.run_id, {STUDY: studies.pop()})
        return super().submit_run(context)
