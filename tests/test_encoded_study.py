"""A study with a sentence encoder: its text is encoded once, and no dataset holds the vectors."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from assets.stage import key
from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from neuroscribe.kinds import read_study
from neuroscribe.publish.stage import publish
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import TABLES
from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryDatasets
from resources.expectations import Expectations
from resources.store.tables import Tables
from tests.resources.models.test_encoder import tiny_bert, tiny_tokenizer

pytestmark = pytest.mark.slow


class Run:
    """A planted study that is simulated by an encoder, in a store and an instance of its own."""

    def __init__(self, folder: Path, base_url: str, instance: dg.DagsterInstance) -> None:
        path = write_planted_study(folder, base_url=base_url)
        tiny_bert().save_pretrained(folder / "bert")
        tiny_tokenizer().save_pretrained(folder / "bert")
        encoder = f'[simulators.embedding]\nmodel = "{(folder / "bert").as_posix()}"\n'
        more = f'{encoder}explainers = ["token_pairs", "token_list"]\n'
        literal = '[simulators.token_match]\nexplainers = ["token_list"]\n'
        path.write_text(path.read_text(encoding="utf-8") + more + literal, encoding="utf-8")
        self.study: Study = read_study(path)
        environment = Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})
        self.tables = Tables(environment.store)
        defs = build_defs([self.study], environment=environment)
        self.instance = instance
        self.launcher = Launcher(self.study, defs, instance, environment)

    def made(self, stage: str) -> int:
        """Return how often an asset was materialised."""
        found = self.instance.fetch_materializations(key(self.study, stage), limit=1000)
        return len(found.records)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("encoded")
    with ScriptedServer(PlantedScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        made = Run(folder, server.base_url, instance)
        made.launcher.capture()
        made.launcher.sample([0])
        made.launcher.explain(0)
        yield made


def test_every_sequence_is_encoded(run: Run) -> None:
    encoded = run.tables.read(run.study.name, "encoded_corpus")
    sequences = run.tables.read(run.study.name, "corpus/sequences")
    assert encoded["sequence_id"].to_list() == sequences["sequence_id"].to_list()


def test_vectors_that_are_gone_are_made_again_and_nothing_else_is(run: Run) -> None:
    corpus, encoded = run.made("corpus"), run.made("encoded_corpus")
    run.tables.path(run.study.name, "encoded_corpus").unlink()
    run.launcher.capture_texts(["encoded_corpus"])
    assert len(run.tables.read(run.study.name, "encoded_corpus"))
    assert (run.made("corpus"), run.made("encoded_corpus")) == (corpus, encoded + 1)


def test_a_list_of_tokens_taken_literally_finds_what_the_planted_neurons_fire_on(run: Run) -> None:
    scores = run.tables.read(run.study.name, "scores", 0)
    literal = scores.filter(scorer="correlation_token_match", regime="top_and_random", split="test")
    assert literal["value"].drop_nulls().median() > 0.8  # type: ignore[operator]


def test_a_neuron_is_explained_from_three_draws_whose_texts_are_compared(run: Run) -> None:
    explanations = run.tables.read(run.study.name, "explanations", 0).filter(explainer="token_pairs")
    other = explanations.filter(explanations["draw"] > 0)
    assert other["draw"].to_list() == [1, 2]
    assert other["similarity"].null_count() == 0
    assert explanations.filter(draw=0)["similarity"].null_count() == len(explanations) - 2


def test_no_dataset_holds_the_vectors(run: Run) -> None:
    datasets = MemoryDatasets()
    publish(run.study, tables=run.tables, datasets=datasets, expectations=Expectations(), licences={})
    files = datasets.datasets[run.study.name]
    assert "data/corpus/sequences.parquet" in files
    assert not [path for path in files if "encoded" in path]
    assert [name for name, table in TABLES.items() if not table.published] == ["encoded_corpus"]
