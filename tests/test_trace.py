"""The command `make trace`: from a score back to everything behind it, on a study whose neurons are known."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from assets.stage import key
from dagster_project.build import build_defs
from dagster_project.environments import Environment
from dagster_project.launch import Launcher
from dagster_project.trace import main, neuron_trace
from neuroscribe.errors import StoreError, StudyError
from neuroscribe.evidence.layer import LayerEvidence
from neuroscribe.explain.explainer import Asking
from neuroscribe.explain.questions import answer_key, explaining
from neuroscribe.fingerprint import fingerprint
from neuroscribe.kinds import read_study
from neuroscribe.llm.calls import PROMPT
from neuroscribe.report.trace.prompts import sent
from neuroscribe.report.trace.tables import LayerTables
from neuroscribe.report.trace.text import trace_text
from neuroscribe.report.trace.tree import Sent, Trace
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import STAGES, stage_identity, stages_of
from neuroscribe.testing.planted import PLANTED, PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from neuroscribe.testing.stores import MemoryCalls
from resources.store.tables import Tables

pytestmark = pytest.mark.slow

LAYER = 1
FEW = "[sample]\nlayers = [1]\nneurons_per_layer = 4\n"
COMMIT = "0123456789abcdef0123456789abcdef01234567+changes"


@dataclass
class Run:
    """The planted study with one layer explained, and what the environment of its process was."""

    study: Study
    variables: dict[str, str]
    instance: dg.DagsterInstance
    server: ScriptedServer

    @property
    def environment(self) -> Environment:
        return Environment.read(self.variables)

    @property
    def tables(self) -> Tables:
        return Tables(self.environment.store)

    def table(self, name: str) -> pl.DataFrame:
        return self.tables.read(self.study.name, name, LAYER)

    @cached_property
    def asked(self) -> dict[str, Any]:
        """An explanation by the LLM."""
        rows = self.table("explanations").filter(explainer="token_pairs", status="ok", draw=0)
        return rows.row(0, named=True)

    @cached_property
    def found(self) -> Trace:
        """What is behind that explanation."""
        return self.trace(self.asked["neuron"], explainer="token_pairs")

    def trace(self, neuron: int, **options: Any) -> Trace:
        return neuron_trace(self.study, self.environment, LAYER, neuron, **options)

    def answer(self, row: dict[str, Any]) -> tuple[str, dict[str, object]]:
        """Return the key and the stored answer of an explanation's call."""
        spec = explaining(self.study, "token_pairs")
        assert isinstance(spec, Asking)
        key = answer_key(spec, row["model"], row["prompt_sha256"], row["sample_index"])
        stored = self.environment.resources()["calls"].get(key)
        assert stored is not None
        return key, stored

    def sent(self, row: dict[str, Any], answer: dict[str, object] | None, *, holds: bool = True) -> Sent:
        """Return what was sent for an explanation, from a store that holds this one answer to it."""
        calls = MemoryCalls()
        if answer is not None:
            calls.put(self.answer(row)[0], answer)
        tables = LayerTables(self.study, LAYER, self.tables)
        evidence = LayerEvidence(self.study, LAYER, tables, neurons=[(row["neuron"], row["polarity"])])
        return sent(evidence, row, calls, _no_encoder, holds=holds)


def _no_encoder() -> Any:
    raise AssertionError("no explainer of the study rests on an encoder")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("trace")
    home = folder / "dagster"
    home.mkdir()
    with (
        ScriptedServer(PlantedScript(), model=MODEL) as server,
        dg.instance_for_test(temp_dir=str(home)) as instance,
    ):
        path = write_planted_study(folder, base_url=server.base_url, sequences=160, documents=64)
        path.write_text(path.read_text(encoding="utf-8") + FEW, encoding="utf-8")
        variables = {
            "NEUROSCRIBE_STORE": str(folder / "store"),
            "NEUROSCRIBE_STUDIES": str(path.parent),
            "NEUROSCRIBE_HUB": "0",
            "NEUROSCRIBE_COMMIT": COMMIT,
            "DAGSTER_HOME": str(home),
        }
        made = Run(read_study(path), variables, instance, server)
        defs = build_defs([made.study], environment=made.environment)
        launcher = Launcher(made.study, defs, instance, made.environment)
        launcher.capture()
        launcher.sample([LAYER])
        launcher.explain(LAYER)
        yield made


def test_the_prompt_is_the_one_that_was_sent_and_the_tables_give_it_again(run: Run) -> None:
    row = run.asked
    found = run.found.sent
    (prompt,) = found.prompts
    assert (found.is_stored, found.is_verified, found.is_rebuilt, found.note) == (True, True, True, "")
    assert fingerprint([list(message) for message in prompt.messages]) == row["prompt_sha256"]
    assert [list(message) for message in prompt.messages] == run.answer(row)[1][PROMPT]
    shown = "\n".join(content for _, content in prompt.messages)
    word = PLANTED[LAYER, row["neuron"]].explanation.removeprefix("words for ")
    assert word not in shown  # the server answers by what the prompt shows


def test_the_reply_is_the_one_that_the_server_gave(run: Run) -> None:
    row = run.asked
    found = run.found
    said = json.loads(found.explanation["raw_response"])
    assert said["choices"][0]["message"]["content"] == row["text"]
    assert found.sent.prompts[0].reply == row["raw_response"]
    assert found.sent.prompts[0].asked_for["study"] == "planted"


def test_the_exemplars_are_those_that_the_prompt_shows_with_their_documents(run: Run) -> None:
    row = run.asked
    found = run.found
    assert [each.sequence_id for each in found.exemplars] == row["sequence_ids"]
    prompt = found.sent.prompts[0].messages[-2][1]
    texts = Path(run.environment.store).parent / "text"
    for each in found.exemplars:
        assert (each.kind, each.split) == ("top", "train")
        marked = each.text.split("<< ")[1].split(" >>")[0]
        assert f"{marked}\t10" in prompt
        assert each.source is not None
        assert marked in (texts / each.source).read_text(encoding="utf-8")
    documents = {row["document_id"]: row["source"] for row in found.documents}
    assert documents == {each.document_id: each.source for each in found.exemplars}


def test_scores_and_simulations_are_those_of_the_tables(run: Run) -> None:
    row = run.asked
    found = run.found
    scores = run.table("scores").filter(explanation_id=row["explanation_id"])
    assert [each["value"] for each in found.scores] == scores["value"].to_list()
    (read,) = found.simulations
    mine = run.table("simulations").filter(explanation_id=row["explanation_id"], neuron=row["neuron"])
    assert (read.simulator, read.sequences) == ("all_at_once", {"test": len(mine)})
    assert read.model == mine["model"][0]
    sequence = read.shown[0]
    kept = run.table("sampled_activations").filter(neuron=row["neuron"], sequence_id=sequence.sequence_id)
    assert list(sequence.true) == pytest.approx(kept["activations"][0].to_list())
    simulated = mine.filter(sequence_id=sequence.sequence_id)["simulated"][0].to_list()
    assert list(sequence.simulated) == pytest.approx(simulated)


def test_the_runs_are_those_of_the_instance_with_the_commit_of_the_code(run: Run) -> None:
    found = run.found
    for each in found.runs:
        event = run.instance.get_latest_materialization_event(key(run.study, each.stage))
        assert event is not None
        assert (each.run_id, each.commit, each.note) == (event.run_id, COMMIT, "")
    assert [each.stage for each in found.runs] == [
        name for name in stages_of(run.study) if STAGES[name].tables
    ]
    assert found.corpus["text_revision"] is not None


def test_every_table_of_the_chain_is_current_and_has_the_identity_of_its_stage(run: Run) -> None:
    found = run.found
    for each in found.tables:
        assert each.is_current, each.table
        assert each.identity == stage_identity(run.study, each.table.split("/")[0])
    assert (
        json.loads(run.tables.provenance("planted", "activations/statistics", LAYER)["made_by"])
        == (found.subject["made_by"])
    )


def test_of_an_explainer_without_an_llm_the_token_table_is_shown(run: Run) -> None:
    found = run.trace(run.asked["neuron"], explainer="token_list")
    assert found.sent.prompts == ()
    assert found.sent.note == "no language model was asked"
    assert found.tokens[0]["token"].strip() in found.explanation["text"]


def test_a_prompt_that_is_not_stored_is_built_anew_and_its_hash_compared(run: Run) -> None:
    row = run.asked
    _, answer = run.answer(row)
    bare = {name: value for name, value in answer.items() if name != PROMPT}
    for stored, said in ((None, "the call is not stored"), (bare, "the answer alone is stored")):
        found = run.sent(row, stored)
        assert (found.is_stored, found.is_verified, found.is_rebuilt) == (False, True, True)
        assert said in found.note
        assert found.prompts[0].sha256 == row["prompt_sha256"]


def test_a_prompt_that_somebody_has_changed_is_called_so(run: Run) -> None:
    row = run.asked
    _, answer = run.answer(row)
    changed = {**answer, PROMPT: [["user", "What is this?"]]}
    found = run.sent(row, changed)
    assert "somebody has changed it" in found.note
    assert found.prompts[0].sha256 == row["prompt_sha256"]
    found = run.sent(row, changed, holds=False)
    assert (found.is_verified, found.is_rebuilt) == (False, None)
    assert "another hash: somebody has changed it" in found.note


def test_tables_that_give_another_prompt_are_called_so(run: Run) -> None:
    row = {**run.asked, "prompt_sha256": "0" * 64}
    found = run.sent(row, None)
    assert (found.is_stored, found.is_verified, found.is_rebuilt) == (False, False, False)
    assert "the tables give another one" in found.note


def test_what_nobody_explained_is_answered_with_what_there_is(run: Run) -> None:
    there = run.table("explanations")["neuron"].unique().sort().to_list()
    other = next(neuron for neuron in range(99) if neuron not in there)
    with pytest.raises(StudyError, match=rf"explains neurons {', '.join(map(str, there))} of this layer"):
        run.trace(other)
    with pytest.raises(StudyError, match="layer 0 of study planted is not explained; those that are: 1"):
        neuron_trace(run.study, run.environment, 0, there[0])
    with pytest.raises(StudyError, match="has layers 0 to 1, and no layer 7"):
        neuron_trace(run.study, run.environment, 7, there[0])
    with pytest.raises(StudyError, match="those that do: token_pairs, token_list"):
        run.trace(there[0], explainer="highlights")
    with pytest.raises(StudyError, match=r"explained on side \+1, not on -1"):
        run.trace(there[0], polarity=-1)


def test_a_table_that_is_gone_names_its_asset_and_no_history_is_no_error(run: Run, tmp_path: Path) -> None:
    neuron = run.asked["neuron"]
    shutil.copytree(Path(run.environment.store) / "planted", tmp_path / "store" / "planted")
    environment = replace(run.environment, store=str(tmp_path / "store"), dagster_home=tmp_path / "dagster")
    found = neuron_trace(run.study, environment, LAYER, neuron)
    assert {each.run_id for each in found.runs} == {None}
    assert "holds no history" in found.history
    assert not environment.dagster_home.exists()
    here = replace(environment, dagster_home=run.environment.dagster_home)
    elsewhere = neuron_trace(run.study, here, LAYER, neuron)
    assert all("another store" in each.note for each in elsewhere.runs)
    (tmp_path / "store/planted/scores/layer_01.parquet").unlink()
    with pytest.raises(StoreError, match="materialise asset planted/scores for layer_01 first"):
        neuron_trace(run.study, environment, LAYER, neuron)


def test_the_command_prints_all_of_it_as_text_and_as_one_json_document(run: Run, capsys: Any) -> None:
    row = run.asked
    place = ["planted", str(LAYER), str(row["neuron"]), "--explainer", "token_pairs"]
    assert main(place, run.variables) == 0
    text = capsys.readouterr().out
    for said in (row["prompt_sha256"], row["explanation_id"], COMMIT, "its hash is the stored one"):
        assert said in text
    assert main([*place, "--json"], run.variables) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["explanation"]["prompt_sha256"] == row["prompt_sha256"]
    assert printed["exemplars"][0]["sequence_id"] == row["sequence_ids"][0]
    assert main(["planted", "0", "0"], run.variables) == 1
    assert "is not explained" in capsys.readouterr().err


def test_hostile_text_commands_no_terminal(run: Run) -> None:
    found = run.found
    hostile = "\x1b[2J\u202e\x07"
    prompts = tuple(replace(each, messages=(("user", hostile),)) for each in found.sent.prompts)
    forged = replace(
        found,
        about=hostile,
        explanation={**found.explanation, "text": hostile, "raw_response": hostile, "model": hostile},
        exemplars=tuple(replace(each, source=hostile, text=hostile) for each in found.exemplars),
        history=hostile,
        sent=replace(found.sent, prompts=prompts),
    )
    text = trace_text(forged, 110)
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert "\\u001b[2J\\u202e\\u0007" in text


def test_materialisations_tell_the_column_sources_and_the_command_that_traces_the_best(run: Run) -> None:
    best = run.table("descriptions").drop_nulls("score").sort("score", "neuron", descending=[True, False])
    for stage in ("scores", "descriptions"):
        event = run.instance.get_latest_materialization_event(key(run.study, stage))
        assert event is not None
        assert event.asset_materialization is not None
        told = event.asset_materialization.metadata
        assert told["trace"].value == f"make trace STUDY=planted LAYER=1 NEURON={best['neuron'][0]}"
        lineage = told["dagster/column_lineage"].value
        assert isinstance(lineage, dg.TableColumnLineage)
        assert (
            dg.TableColumnDep(key(run.study, "explanations"), "explanation_id")
            in (lineage.deps_by_column["explanation_id"])
        )
