"""A study and its random-weights twin through the graph: the report of either sets both side by side."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.outcome import outcome
from neuroscribe.kinds import read_studies
from neuroscribe.testing.concepts_study import ConceptScript, write_concepts_study
from neuroscribe.testing.planted_study import MODEL
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow
SIDE_BY_SIDE = "Trained (concepts) and random weights (twin): layers 0"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Environment]:
    """Both studies, of which the first has run when the reports of either begin."""
    folder: Path = tmp_path_factory.mktemp("twins")
    with ScriptedServer(ConceptScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        path = write_concepts_study(folder, base_url=server.base_url, sequences=300, documents=150, labels=1)
        text = path.read_text(encoding="utf-8").replace("[subject]", "[subject]\nrandomised = true")
        path.with_name("twin.toml").write_text(text + "max_unscored_share = 1.0\n", encoding="utf-8")
        path.write_text(path.read_text(encoding="utf-8") + "max_unscored_share = 1.0\n", encoding="utf-8")
        environment = Environment.read(
            {
                "NEUROSCRIBE_STORE": str(folder / "store"),
                "NEUROSCRIBE_STUDIES": str(path.parent),
                "NEUROSCRIBE_HUB": "0",
            }
        )
        for study in read_studies(environment.studies).values():
            launcher = Launcher(study, build_defs([study], environment=environment), instance, environment)
            launcher.capture()
            launcher.sample([0])
            launcher.explain(0)
        yield environment


@pytest.mark.parametrize("name", ["concepts", "twin"])
def test_the_report_of_either_shows_both_studies(environment: Environment, name: str) -> None:
    study = read_studies(environment.studies)[name]

    text = outcome(study, environment, layers=[0], seconds={})

    table = text[text.index(SIDE_BY_SIDE) :].splitlines()
    trained, twin = (line.split() for line in table[2:4])
    assert trained[:4] == ["correlation_all_at_once", "of", "label_1", "trained"]
    assert twin[:4] == ["correlation_all_at_once", "of", "label_1", "randomised"]
    assert float(trained[5]) > 0.9 > 0.5 > float(twin[5])


def test_a_study_whose_twin_has_not_run_is_reported_alone(environment: Environment) -> None:
    study = read_studies(environment.studies)["concepts"]
    tables = Tables(environment.store)
    tables.path("twin", "scores", 0).unlink()

    assert SIDE_BY_SIDE not in outcome(study, environment, layers=[0], seconds={})


def test_a_twin_s_activations_are_not_those_of_the_model(environment: Environment) -> None:
    tables = Tables(environment.store)
    largest = [
        tables.read(name, "activations/statistics", 0)["max"].to_list() for name in ("concepts", "twin")
    ]

    assert tables.read("concepts", "corpus/sequences").equals(tables.read("twin", "corpus/sequences"))
    assert max(largest[1]) < 1 < min(largest[0])
