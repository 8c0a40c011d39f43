"""Explainers that start from others' texts, through the whole graph on neurons whose right label is known.

The first explainer's labels are too broad: the truth, or another group. A scripted model narrows them where
it is shown that the neuron is silent on a group that the label names. The encoder knows the groups by name.
"""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest

from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.plan import study_plan
from dagster_project.run import preflight
from neuroscribe.errors import LabelError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.stage import explained_layer
from neuroscribe.kinds import KnownStudy, read_study
from neuroscribe.ports.models import TextEncoder
from neuroscribe.ports.stores import Progress
from neuroscribe.report.gaps import gains, gaps
from neuroscribe.report.ledger import ledger
from neuroscribe.score.stage import scored_layer
from neuroscribe.simulate.stage import simulated_layer
from neuroscribe.study.sections import EncoderSpec
from neuroscribe.study.spec import Study
from neuroscribe.testing.planted import ANIMALS, GROUPS, NEURONS, PLANTED, PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryCalls, SilentProgress
from resources.labels import LabelFiles
from resources.store.calls import FolderCalls
from resources.store.tables import Tables

pytestmark = pytest.mark.slow
NAMES = list(GROUPS)
SINGLE = [n for n in range(NEURONS) if PLANTED[0, n].explanation in GROUPS]
"""Neurons of layer 0 that fire on one group."""
SCORER = "correlation_embedding"
_DESCRIPTION = re.compile(r'Description: "(.*)"')
_SILENT = re.compile(r"Silent on: (.*)")
_TOKEN = re.compile(r"<script>|\w+|[^\w ]")


class Groups:
    """An encoder with a direction for each group of tokens; a text points to all groups that it names."""

    identity = "groups"

    def sentence(self, text: str) -> np.ndarray:
        return _unit(np.array([float(name in text) for name in NAMES]))

    def pieces(self, text: str) -> tuple[list[tuple[int, int]], np.ndarray]:
        found = list(_TOKEN.finditer(text))
        vectors = [_unit(np.array([float(_is_of(each[0], name)) for name in NAMES])) for each in found]
        return [each.span() for each in found], np.array(vectors, dtype=np.float32).reshape(-1, len(NAMES))


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / max(1e-9, float(np.linalg.norm(vector)))).astype(np.float32)


def _is_of(token: str, name: str) -> bool:
    return token in GROUPS[name] or f" {token}" in GROUPS[name]


class GroupEncoders(dg.ConfigurableResource):
    """Opens it, whatever is asked for."""

    hub: bool = False

    def open(self, spec: EncoderSpec, *, progress: Progress | None = None) -> TextEncoder:
        return Groups()


class Broad(PlantedScript):
    """Explains by the truth or the next group; narrows a description by what the neuron is silent on."""

    def reply(self, prompt_text: str) -> str:
        described = _DESCRIPTION.findall(prompt_text)
        if not described:
            right = super().reply(prompt_text)
            return f"{right} or {NAMES[(NAMES.index(right) + 1) % len(NAMES)]}" if right in NAMES else right
        lists = [json.loads(f"[{line}]") for line in _SILENT.findall(prompt_text)[-1:]]
        silent = [token.strip(" ") for tokens in lists for token in tokens]
        wrong = {name for name in NAMES if any(_is_of(token, name) for token in silent)}
        left = [name for name in described[-1].split(" or ") if name not in wrong]
        return " or ".join(left) or described[-1]


class OtherWords:
    """Says a description in words that the encoder knows, but for animals."""

    def reply(self, prompt: str) -> str:
        said = (_DESCRIPTION.findall(prompt) or ["yes"])[-1]
        return "creatures" if said.startswith(ANIMALS) else f"in other words: {said}"

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        raise AssertionError("it simulates nothing")


MORE = """
[paraphraser_llm]
provider = "openai"
model = "other"
[explainers.revision]
of = "token_pairs"
[explainers.by_chance]
kind = "revision"
of = "token_pairs"
evidence = "random"
[explainers.looked_again]
kind = "revision"
of = "token_pairs"
evidence = "none"
[explainers.paraphrase]
of = "token_pairs"
share = 1.0
[explainers.imported]
file = "{labels}"
[scoring]
stability_neurons = 0
"""
NAMED = ["token_pairs", "revision", "by_chance", "looked_again", "paraphrase", "imported"]


class Run:
    """A finished run of layer 0."""

    def __init__(self, folder: Path, llm: ScriptedServer, other: ScriptedServer, instance: Any) -> None:
        path = write_planted_study(folder, base_url=llm.base_url)
        labels = folder / "labels.csv"
        rows = [f"0,{n},{PLANTED[0, n].explanation}" for n in SINGLE[1:]]
        labels.write_text("\n".join(["layer,neuron,text", *rows]))
        text, _, _ = path.read_text(encoding="utf-8").partition("[simulators.")
        simulator = f"[simulators.embedding]\nexplainers = {json.dumps(NAMED)}\n"
        path.write_text(text + MORE.format(labels=labels.as_posix()) + simulator, encoding="utf-8")
        self.study: Study = read_study(path)
        self.environment = Environment.read(
            {
                "NEUROSCRIBE_STORE": str(folder / "store"),
                "NEUROSCRIBE_HUB": "0",
                "NEUROSCRIBE_PARAPHRASER_LLM_BASE_URL": other.base_url,
            }
        )
        self.tables, self.llm, self.other = Tables(self.environment.store), llm, other
        encoders = {"encoders": GroupEncoders()}
        defs = build_defs([self.study], environment=self.environment, resource_overrides=encoders)
        launcher = Launcher(self.study, defs, instance, self.environment)
        launcher.capture()
        launcher.sample([0])
        self.planned = study_plan(self.study, self.environment, [0])
        launcher.explain(0)

    def read(self, table: str) -> pl.DataFrame:
        return self.tables.read(self.study.name, table, 0)

    def texts(self, explainer: str) -> dict[int, str | None]:
        own = self.read("explanations").filter(explainer=explainer)
        return dict(own.select("neuron", "text").iter_rows())

    def mean(self, explainer: str) -> float:
        own = self.read("scores").filter(
            pl.col("neuron").is_in(SINGLE), explainer=explainer, scorer=SCORER, split="test", regime="corpus"
        )
        return float(own["value"].mean())  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("derived")
    with (
        ScriptedServer(Broad(), model=MODEL) as llm,
        ScriptedServer(OtherWords(), model="other") as other,
        dg.instance_for_test() as instance,
    ):
        yield Run(folder, llm, other, instance)


def test_a_revision_that_is_shown_the_false_alarms_becomes_the_truth(run: Run) -> None:
    first, revised = run.texts("token_pairs"), run.texts("revision")
    for neuron in SINGLE:
        assert (first[neuron] or "").startswith(f"{PLANTED[0, neuron].explanation} or ")
        assert revised[neuron] == PLANTED[0, neuron].explanation
    assert run.mean("revision") > run.mean("token_pairs") + 0.1


def test_evidence_by_chance_and_none_help_less_or_not(run: Run) -> None:
    assert run.texts("looked_again") == run.texts("token_pairs")
    assert run.mean("looked_again") == pytest.approx(run.mean("token_pairs"), abs=0.01)
    assert run.mean("by_chance") < run.mean("revision") - 0.05
    table = gains(run.study, run.read("explanations"), run.read("scores")).filter(scorer=SCORER)
    gained = dict(table.select("explainer", "difference").iter_rows())
    assert gained["revision"] > gained["by_chance"]
    assert gained["revision"] > 0 == pytest.approx(gained["looked_again"], abs=0.01)


def test_nothing_that_a_revision_was_shown_is_scored(run: Run) -> None:
    records = run.read("neuron_records")
    sequences = run.tables.read(run.study.name, "corpus/sequences")
    documents = dict(sequences.select("sequence_id", "document_id").iter_rows())
    for row in run.read("explanations").filter(explainer="revision", status="ok").iter_rows(named=True):
        own = records.filter(pl.col("split") != "train", neuron=row["neuron"], polarity=row["polarity"])
        scored = {documents[sequence] for sequence in own["sequence_id"]}
        assert not scored & {documents[sequence] for sequence in row["sequence_ids"]}


def test_the_other_model_is_asked_for_paraphrases_alone_and_the_gap_is_told(run: Run) -> None:
    asked = [json.dumps(body) for _, body in run.other.calls if "Say yes." not in json.dumps(body)]
    paraphrases = run.read("explanations").filter(explainer="paraphrase")
    # Neurons that are explained alike share a question.
    assert len(asked) == paraphrases.filter(pl.col("model") != "none")["prompt_sha256"].n_unique()
    assert all("in other words" in each for each in asked)
    assert not any("Say the same in other words" in json.dumps(body) for _, body in run.llm.calls)
    (gap,) = gaps(run.study, run.read("explanations"), run.read("scores")).filter(scorer=SCORER).to_dicts()
    assert gap["difference"] == pytest.approx(0, abs=0.01)
    assert gap["undefined"] == 2  # both neurons whose first text is of animals
    models = dict(run.read("explanations").filter(status="ok").select("explainer", "model").iter_rows())
    assert models["paraphrase"] != models["token_pairs"]
    kept = ledger(FolderCalls(f"{run.environment.store}/calls")).filter(stage="explanation")
    counts = dict(kept.group_by("model").len().iter_rows())
    assert counts[models["paraphrase"]] == len(asked)
    assert set(counts) == {models["paraphrase"], models["token_pairs"]}


def test_labels_of_others_score_as_the_truth_and_a_neuron_without_one_says_so(run: Run) -> None:
    found = run.texts("imported")
    assert {n: found[n] for n in SINGLE[1:]} == {n: PLANTED[0, n].explanation for n in SINGLE[1:]}
    assert found[SINGLE[0]] is None
    assert run.mean("imported") == pytest.approx(1, abs=0.01)


def test_a_plan_counts_what_was_asked(run: Run) -> None:
    planned = dict(run.planned.filter(stage="explanation").select("name", "calls").iter_rows())
    made = run.read("explanations").filter(pl.col("model") != "none")
    counts = dict(made.group_by("explainer").len().iter_rows())
    exact = ("token_pairs", "paraphrase", "by_chance", "looked_again")
    assert {name: planned[name] for name in exact} == {name: counts[name] for name in exact}
    assert counts["revision"] <= planned["revision"]  # a text without an error is not revised
    assert planned["imported"] == 0


def test_our_own_explanations_imported_get_the_same_scores_to_the_byte(run: Run, tmp_path: Path) -> None:
    made = run.read("explanations").filter(explainer="token_pairs")
    made.select("layer", "neuron", "polarity", "text", "sequence_ids").write_parquet(tmp_path / "own.parquet")
    given = {"imported": {"file": str(tmp_path / "own.parquet")}}
    again = KnownStudy.model_validate(
        {
            **run.study.model_dump(exclude={"paraphraser_llm", "simulator_llm"}),
            # Beside another one, as the first were: what describes is chosen on half of the text.
            "explainers": {**given, "token_list": {"occurrences": 1}},
            "simulators": {"embedding": {"explainers": ["imported", "token_list"]}},
        }
    )
    tables = {name: run.read(name) for name in ("neuron_records", "sampled_activations", "token_lookup")}
    of_text = ("corpus/sequences", "corpus/vocabulary", "encoded_corpus")
    tables |= {name: run.tables.read(run.study.name, name) for name in of_text}
    tables["activations/statistics"] = run.read("activations/statistics")
    shared: dict[str, Any] = {"encoders": GroupEncoders(), "progress": SilentProgress()}
    asking: dict[str, Any] = {"llm": None, "calls": MemoryCalls(), **shared}
    tables["explanations"] = asyncio.run(
        explained_layer(LayerEvidence(again, 0, tables), labels=LabelFiles(), **asking)
    )
    tables["simulations"] = asyncio.run(simulated_layer(LayerEvidence(again, 0, tables), **asking))
    scores = scored_layer(LayerEvidence(again, 0, tables), **shared)
    keys = ["neuron", "polarity", "scorer", "split", "regime"]
    told = ["value", "ci_low", "ci_high", "n_sequences", "n_tokens", "ceiling", "control", "n_controls", "p"]
    first = run.read("scores").filter(explainer="token_pairs").sort(keys).select(*keys, *told)
    assert len(first) > 0
    assert scores.filter(explainer="imported").sort(keys).select(*keys, *told).equals(first)


def test_a_file_of_labels_that_is_wrong_ends_a_run_before_anything_is_asked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_text("layer,neuron,text\n9,1,rain\n")
    bad = run.study.explainers["imported"].model_copy(update={"file": str(tmp_path / "bad.csv")})
    study = run.study.model_copy(update={"explainers": {**run.study.explainers, "imported": bad}})
    counted = len(run.llm.calls)
    with pytest.raises(LabelError, match=r"bad\.csv, line 2: layer 9, and the subject"):
        preflight(study, run.environment.resources())
    assert len(run.llm.calls) == counted
