"""Bad input ends with one message that names culprit, finding and remedy, and leaves nothing behind."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.run import main
from neuroscribe.testing.planted import PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.random_subjects import random_subject
from neuroscribe.testing.servers import Dialect, ScriptedServer

KEY = "sk-secret-0123456789"


class Bench:
    """A planted study that a test spoils before it is run."""

    def __init__(self, folder: Path, server: ScriptedServer, output: pytest.CaptureFixture[str]) -> None:
        self.folder, self.server, self._output = folder, server, output
        self.study = write_planted_study(folder, base_url=server.base_url)
        self.variables = {
            "NEUROSCRIBE_STUDIES": str(folder / "studies"),
            "NEUROSCRIBE_STORE": str(folder / "store"),
            "NEUROSCRIBE_HUB": "0",
            "DAGSTER_HOME": str(folder / "home"),
        }

    def replace(self, old: str, new: str) -> None:
        text = self.study.read_text(encoding="utf-8")
        assert old in text
        self.study.write_text(text.replace(old, new), encoding="utf-8")

    def said(self, *arguments: str, in_a_run: bool = False) -> str:
        """Run the study, which must fail (before any Dagster run, or in one); return the one message."""
        assert main(arguments or ["planted"], self.variables) == 1
        errors = self._output.readouterr().err
        _, message = errors.split("\nerror: ")
        assert "Traceback" not in errors
        assert (self.folder / "home").exists() == in_a_run
        assert not list((self.folder / "store").rglob("*.parquet"))
        return message


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(PlantedScript(), model=MODEL) as server:
        yield server


@pytest.fixture
def bench(tmp_path: Path, server: ScriptedServer, capsys: pytest.CaptureFixture[str]) -> Bench:
    return Bench(tmp_path, server, capsys)


def test_an_unknown_study_is_answered_with_those_there_are(bench: Bench) -> None:
    assert bench.said("plantd") == "there is no study 'plantd'; studies/ holds planted\n"


def test_a_misspelt_key_is_named_with_the_keys_there_are(bench: Bench) -> None:
    bench.replace("sequence_length", "sequence_lenght")

    message = bench.said()

    assert "planted.toml" in message
    assert "sequence_lenght" in message
    assert "sequence_length" in message


def test_an_unknown_kind_of_unit_is_refused_with_those_there_are_before_anything_is_loaded(
    bench: Bench,
) -> None:
    bench.replace("neurons_per_layer = 16", 'neurons_per_layer = 16\nunits = "mlp_neuron"')
    shutil.rmtree(bench.folder / "model")
    shutil.rmtree(bench.folder / "text")

    assert bench.said() == (
        'subject.units = "mlp_neuron" names no kind of unit; known kinds: mlp_neurons; correct it, or add the'
        " kind to neuroscribe/subject/units/kinds.py\n"
    )


def test_a_layer_out_of_range_is_named_with_the_range(bench: Bench) -> None:
    assert bench.said("planted", "--layers", "0,7") == "--layers names '7'; study planted has layers 0 to 1\n"


def test_a_corpus_too_small_for_what_is_kept_of_it_is_refused_before_anything_is_done(bench: Bench) -> None:
    given = next(
        line for line in bench.study.read_text(encoding="utf-8").splitlines() if "sequences =" in line
    )
    bench.replace(given, "sequences = 20")

    message = bench.said()

    assert "20 sequences are too few for top_k =" in message
    assert "raise corpus.sequences" in message


def test_a_study_that_states_another_size_than_the_model_is_refused(bench: Bench) -> None:
    bench.replace("layers = 2", "layers = 3")

    message = bench.said()

    assert "subject.layers = 3" in message
    assert "2" in message


@pytest.mark.parametrize("kind", ["mixtral", "mamba"])
def test_a_subject_without_dense_mlp_is_refused_with_the_reason(bench: Bench, kind: str) -> None:
    model = random_subject(kind)
    model.save_pretrained(bench.folder / "model")

    assert kind in bench.said()


def test_a_wrong_key_fails_at_once_with_one_message_that_holds_no_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ScriptedServer(PlantedScript(), model=MODEL, api_key=KEY) as server:
        bench = Bench(tmp_path, server, capsys)

        message = bench.said()

        assert "NEUROSCRIBE_LLM_API_KEY" in message
        assert KEY not in message
        assert len(server.calls) == 1


def test_a_server_that_is_not_there_is_named(bench: Bench) -> None:
    bench.replace(bench.server.base_url, "http://127.0.0.1:9/v1")

    assert "http://127.0.0.1:9/v1" in bench.said()


def test_a_server_without_echo_is_refused_with_the_alternatives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dialect: Dialect = "echo_ignored"
    with ScriptedServer(PlantedScript(), model=MODEL, dialect=dialect) as server:
        message = Bench(tmp_path, server, capsys).said()

    assert "echo" in message
    assert "local" in message
    assert "embedding" in message


def test_a_store_that_cannot_be_written_is_named(bench: Bench) -> None:
    (bench.folder / "file").write_text("in the way", encoding="utf-8")
    bench.variables["NEUROSCRIBE_STORE"] = str(bench.folder / "file" / "store")

    assert str(bench.folder / "file") in bench.said()


def _texts(bench: Bench, content: bytes) -> None:
    for path in (bench.folder / "text").glob("*.txt"):
        path.unlink()
    (bench.folder / "text" / "only.txt").write_bytes(content)


def test_a_corpus_without_text_is_refused(bench: Bench) -> None:
    _texts(bench, b" \n")

    assert "holds no text" in bench.said(in_a_run=True)


def test_a_corpus_shorter_than_one_sequence_is_refused(bench: Bench) -> None:
    _texts(bench, b"the red cat")

    assert "no document of the corpus" in bench.said(in_a_run=True)


def test_bytes_that_are_no_text_are_named_with_file_and_place(bench: Bench) -> None:
    _texts(bench, b"the red \xff cat")

    message = bench.said(in_a_run=True)

    assert "only.txt" in message
    assert "8" in message


def test_a_corpus_with_too_few_sequences_is_told_how_many_there_are(bench: Bench) -> None:
    bench.replace("sequences = 300", "sequences = 30000")

    assert "the study asks for 30000" in bench.said(in_a_run=True)


def test_a_dagster_home_that_cannot_be_written_is_named(bench: Bench) -> None:
    (bench.folder / "file").write_text("in the way", encoding="utf-8")
    bench.variables["DAGSTER_HOME"] = str(bench.folder / "file" / "home")

    message = bench.said()

    assert "/file is a file where a folder belongs; move it away" in message
    assert "another folder (DAGSTER_HOME)" in message


def test_a_damaged_dagster_yaml_is_named(bench: Bench) -> None:
    (bench.folder / "home").mkdir()
    for content in ("storage: [\n", "nonsense: 3\n"):
        (bench.folder / "home" / "dagster.yaml").write_text(content, encoding="utf-8")

        assert "dagster.yaml: Dagster cannot read it" in bench.said(in_a_run=True)
