"""What a code server ran and left behind is closed when it starts again, and nothing else is."""

import json

import dagster as dg
from dagster._core.storage.tags import GRPC_INFO_TAG

from dagster_project.code_server import close_runs_of


@dg.job
def nothing() -> None:
    """Have no step."""


def _run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus, launcher: dict[str, object]) -> str:
    tags = {GRPC_INFO_TAG: json.dumps(launcher)} if launcher else {}
    return instance.create_run_for_job(nothing, status=status, tags=tags).run_id


def test_only_its_own_runs_that_had_not_ended_are_marked_as_failed() -> None:
    ours = {"host": "code", "port": 4000}
    with dg.DagsterInstance.ephemeral() as instance:
        started = _run(instance, dg.DagsterRunStatus.STARTED, ours)
        canceling = _run(instance, dg.DagsterRunStatus.CANCELING, ours | {"use_ssl": True})
        others = [
            _run(instance, dg.DagsterRunStatus.SUCCESS, ours),
            _run(instance, dg.DagsterRunStatus.NOT_STARTED, ours),
            _run(instance, dg.DagsterRunStatus.STARTED, {"host": "code", "port": 4001}),
            _run(instance, dg.DagsterRunStatus.STARTED, {"host": "localhost", "socket": "s"}),
            _run(instance, dg.DagsterRunStatus.STARTED, {}),
        ]
        before = [instance.get_run_by_id(run) for run in others]
        assert set(close_runs_of("code", 4000, instance)) == {started, canceling}
        failed = instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE]))
        assert {run.run_id for run in failed} == {started, canceling}
        assert [instance.get_run_by_id(run) for run in others] == before
        assert list(close_runs_of("code", 4000, instance)) == []
