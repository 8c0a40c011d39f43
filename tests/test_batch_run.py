"""Explanations from batch jobs: all layers' jobs are submitted, and the same command goes on with them."""

from pathlib import Path

import dagster as dg
import pytest

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from neuroscribe.errors import BatchPendingError
from neuroscribe.kinds import read_study
from neuroscribe.testing.planted import LAYERS, PlantedScript
from neuroscribe.testing.planted_study import write_planted_study
from neuroscribe.testing.server_batches import Batches
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow


def test_a_layer_that_waits_for_its_job_holds_up_no_other_and_each_is_submitted_once(tmp_path: Path) -> None:
    jobs = Batches()
    with ScriptedServer(PlantedScript(), batches=jobs) as server, dg.instance_for_test() as instance:
        path = write_planted_study(tmp_path, base_url=server.base_url, sequences=100, documents=60)
        own = f'provider = "openai"\nmodel = "scripted"\nbase_url = "{server.base_url}"\n'
        path.write_text(path.read_text().replace("[llm]\n", f"[simulator_llm]\n{own}[llm]\nbatch = true\n"))
        study = read_study(path)
        environment = Environment.read(
            {
                "NEUROSCRIBE_STORE": str(tmp_path / "store"),
                "NEUROSCRIBE_HUB": "0",
                "NEUROSCRIBE_LLM_BATCH_WAIT_MINUTES": "0",
            }
        )
        launcher = Launcher(study, build_defs([study], environment=environment), instance, environment)
        launcher.capture()
        launcher.sample(range(LAYERS))
        with pytest.raises(BatchPendingError, match=r"batch_0 [^\n]*\n[^\n]*batch_1 "):
            launcher.explain_all(range(LAYERS))
        assert len(jobs.jobs) == LAYERS
        launcher.explain_all(range(LAYERS))
    explanations = Tables(environment.store).read(study.name, "explanations")
    asked = explanations.filter(explanations["model"] != "none")
    assert len(jobs.jobs) == LAYERS
    # What two layers ask alike is asked once.
    different = asked.n_unique(["prompt_sha256", "sample_index"])
    assert sum(len(jobs.lines(job)) for job in jobs.jobs) == different > LAYERS
    assert set(asked["status"]) == {"ok"}
