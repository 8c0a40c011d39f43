"""The queue of runs: each is tagged with its study, so that Dagster lets one at a time go."""

import shutil
from pathlib import Path

import dagster as dg

from dagster_project.automation import STUDY
from dagster_project.environments import ROOT
from dagster_project.queue import StudyQueue


def test_the_shipped_settings_let_one_run_of_a_study_go_at_a_time(tmp_path: Path) -> None:
    shutil.copyfile(ROOT / "deploy" / "dagster.yaml", tmp_path / "dagster.yaml")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_coordinator, StudyQueue)
        config = instance.get_concurrency_config()
        assert config.run_queue_config is not None
        assert config.run_queue_config.max_concurrent_runs == 4
        assert config.run_queue_config.tag_concurrency_limits == [
            {"key": STUDY, "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
        ]
