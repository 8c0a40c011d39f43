"""The whole graph on a subject that follows a bigram, a position, two senses and a rare token."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from neuroscribe.kinds import read_study
from neuroscribe.testing.concepts_study import ConceptScript, write_concepts_study
from neuroscribe.testing.planted_concepts import CONCEPTS, LABELS, NAMED, label_of, true_correlation
from neuroscribe.testing.planted_study import MODEL
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

pytestmark = pytest.mark.slow


@dataclass
class Concepts:
    """One finished run."""

    tables: Tables

    def read(self, table: str) -> pl.DataFrame:
        return self.tables.read("concepts", table)

    def scores(self, concept: str, regime: str) -> list[dict[str, float | None]]:
        """Return the rows of a concept's labels, in their order."""
        scorer = {"scorer": "correlation_all_at_once", "split": "test", "regime": regime}
        own = self.read("scores").filter(neuron=NAMED[concept], **scorer)
        return own.sort("explainer").to_dicts()

    def values(self, concept: str) -> list[float | None]:
        """Return the paper's scores of a concept's labels."""
        return [row["value"] for row in self.scores(concept, "top_and_random")]

    def truths(self, concept: str) -> list[float]:
        """Return the true correlations of a concept's labels over all that their explainers have not seen."""
        neuron = NAMED[concept]
        made = self.read("explanations").filter(neuron=neuron, draw=0).sort("explainer")
        return [
            true_correlation(neuron, label, self.unseen(ids))
            for label, ids in zip(CONCEPTS[neuron].labels, made["sequence_ids"], strict=True)
        ]

    def unseen(self, seen: pl.Series) -> list[list[str]]:
        """Return the tokens of the sequences of documents of which none was shown."""
        sequences = self.read("corpus/sequences")
        shown = sequences.filter(pl.col("sequence_id").is_in(seen.to_list()))["document_id"]
        return list(self.tokens(sequences.filter(~pl.col("document_id").is_in(shown.to_list()))).values())

    def tokens(self, sequences: pl.DataFrame) -> dict[int, list[str]]:
        """Return the tokens of sequences, by id."""
        vocabulary = self.read("corpus/vocabulary").select("token_id", "bytes").iter_rows()
        text = {number: token.decode(errors="replace") for number, token in vocabulary}
        rows = sequences.select("sequence_id", "token_ids").iter_rows()
        return {sequence: [text[number] for number in numbers] for sequence, numbers in rows}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Concepts]:
    folder: Path = tmp_path_factory.mktemp("concepts")
    with ScriptedServer(ConceptScript(), model=MODEL) as server, dg.instance_for_test() as instance:
        study = read_study(write_concepts_study(folder, base_url=server.base_url))
        environment = Environment.read({"NEUROSCRIBE_STORE": str(folder / "store"), "NEUROSCRIBE_HUB": "0"})
        launcher = Launcher(study, build_defs([study], environment=environment), instance, environment)
        launcher.capture()
        launcher.sample([0])
        launcher.explain(0)
        yield Concepts(Tables(environment.store))


def test_captured_activations_are_those_that_were_planted(run: Concepts) -> None:
    tokens = run.tokens(run.read("corpus/sequences"))
    for neuron, sequence, found in (
        run.read("neuron_records").select("neuron", "sequence_id", "activations").iter_rows()
    ):
        assert found == pytest.approx(CONCEPTS[neuron].activations(tokens[sequence]), abs=1e-3)


def test_every_neuron_is_explained_by_each_of_its_labels(run: Concepts) -> None:
    made = run.read("explanations").filter(draw=0).select("neuron", "explainer", "text").rows()
    numbered = [(neuron, int(explainer.removeprefix("label_")), text) for neuron, explainer, text in made]

    assert len(numbered) == LABELS * len(CONCEPTS)
    assert all(text == label_of(neuron, number).text for neuron, number, text in numbered)


@pytest.mark.parametrize("concept", NAMED)
def test_the_right_label_scores_highest_and_the_opposite_lowest(run: Concepts, concept: str) -> None:
    right, *others, opposite = run.values(concept)

    assert right is not None
    assert opposite is not None
    assert right > 0.99
    assert opposite < -0.99
    assert all(opposite < value <= right for value in others if value is not None)


def test_the_paper_s_score_prefers_the_strong_sense_and_the_whole_corpus_the_frequent_one(
    run: Concepts,
) -> None:
    _, _, strong, frequent, _ = run.values("two_senses")
    true_strong, true_frequent = run.truths("two_senses")[2:4]

    assert strong is not None
    assert frequent is not None
    assert strong > frequent
    assert true_strong < 0.5
    assert true_frequent > 0.85


def test_the_paper_s_score_hardly_sees_four_times_as_many_rare_tokens(run: Concepts) -> None:
    value = run.values("rare_token")[1]

    assert value is not None
    assert value > 0.8
    assert run.truths("rare_token")[1] < 0.55


@pytest.mark.parametrize("concept", NAMED)
def test_the_estimate_over_the_corpus_holds_the_true_correlation_in_its_interval(
    run: Concepts, concept: str
) -> None:
    rounding = 1e-3  # a simulation has ten values, the truth of two senses has two sizes
    for row, truth in zip(run.scores(concept, "corpus"), run.truths(concept), strict=True):
        if row["value"] is None:
            assert row["null_reason"] == "constant simulation"
            assert abs(truth) < 0.01
            continue
        low, high = row["ci_low"], row["ci_high"]
        assert low is not None
        assert high is not None
        assert low - rounding <= truth <= high + rounding
        assert high - low > 0.005


def test_over_the_corpus_the_frequent_sense_is_worth_more_and_a_label_with_rare_tokens_added_half(
    run: Concepts,
) -> None:
    senses = [row["value"] for row in run.scores("two_senses", "corpus")]
    rare = [row["value"] for row in run.scores("rare_token", "corpus")]
    assert senses[2] is not None
    assert senses[3] is not None
    assert senses[2] < 0.5 < senses[3]
    assert rare[0] == pytest.approx(1)
    assert rare[1] is not None
    assert rare[1] <= rare[0] / 2


def test_right_labels_are_above_all_ten_controls_and_opposite_ones_are_left_after_three(
    run: Concepts,
) -> None:
    for concept in NAMED:
        right, *_, opposite = run.scores(concept, "corpus")
        assert right["n_controls"] == 10
        assert right["p"] is not None
        assert right["p"] < 1e-3
        assert opposite["n_controls"] == 3
