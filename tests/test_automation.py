"""What the nights ask for, over simulated days; new texts, and word of failures."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import dagster as dg
import pytest

from assets.stage import key
from dagster_project.automation import STUDY as STUDY_TAG
from dagster_project.build import build_defs
from dagster_project.environments import ROOT, Environment
from neuroscribe.errors import StoreError
from neuroscribe.kinds import read_study
from neuroscribe.study.spec import Study, layer_of
from neuroscribe.study.stages import layers_of
from resources.alerts import Webhook
from tests.layers_done import Bench

WHOLE = read_study(ROOT / "studies" / "embedded.toml")
STUDY = WHOLE.model_copy(
    update={
        "subject": WHOLE.subject.model_copy(update={"layers": 4}),
        "sample": WHOLE.sample.model_copy(update={"layers": (0, 2, 3)}),
        "simulators": {name: each for name, each in WHOLE.simulators.items() if each.layers == "all"},
    }
)
FIRST_NIGHT = datetime(2026, 1, 2, 1, 0, 30, tzinfo=UTC)


class Nights:
    """A study's conditions, evaluated at one time after the other as the daemon does."""

    def __init__(self, bench: Bench, **variables: str) -> None:
        self.bench = bench
        environment = Environment.read({"NEUROSCRIBE_STORE": str(bench.tables.root), **variables})
        self._defs = build_defs([STUDY], environment=environment)
        self._cursor: Any = None
        self.at(FIRST_NIGHT - timedelta(hours=8))  # started in the afternoon

    def at(self, time: datetime) -> dict[str, list[int]]:
        """Evaluate at a time; returns the layers asked for by asset, none for assets of no layer."""
        result = dg.evaluate_automation_conditions(
            defs=self._defs,
            instance=self.bench.instance,
            asset_selection=dg.AssetSelection.groups(STUDY.name),
            evaluation_time=time,
            cursor=self._cursor,
        )
        self._cursor = result.cursor
        asked: dict[str, list[int]] = {}
        for name in self._names():
            subset = result.get_requested_partitions(key(STUDY, name))
            if subset:
                asked[name] = sorted(layer_of(each) for each in subset if each is not None)
        return asked

    def night(self, time: datetime, *, failing: str | None = None) -> dict[str, list[int]]:
        """Evaluate every minute of a night, and make what is asked for, up to what is `failing`."""
        total: dict[str, list[int]] = {}
        for minute in range(12):
            asked = self.at(time + timedelta(minutes=minute))
            if not asked:
                break
            for name, layers in asked.items():
                assert name not in total, f"{name} was asked for twice"
                total[name] = layers
            self._make(asked, failing)
        return total

    def _make(self, asked: dict[str, list[int]], failing: str | None) -> None:
        if "corpus" in asked or "encoded_corpus" in asked:
            self.bench.texts()
        for name in self._names():
            if name == failing:
                return
            if layers := asked.get(name):
                self.bench.done((name,), layers)

    def _names(self) -> list[str]:
        return [stage.name for stage in self.bench.freshness.stages]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Bench(STUDY, tmp_path / "store", instance)


def everything(bench: Bench, *phases: str) -> dict[str, list[int]]:
    """All layers of all stages of some phases."""
    return {name: [*layers_of(STUDY, name)] for phase in phases for name in bench.stages(phase)}


@pytest.mark.slow
def test_the_first_night_makes_everything_and_the_second_nothing(bench: Bench) -> None:
    nights = Nights(bench)
    assert nights.at(FIRST_NIGHT - timedelta(hours=1)) == {}

    texts = {"corpus": [], "encoded_corpus": []}
    assert nights.night(FIRST_NIGHT) == texts | everything(bench, "capture", "sample", "explain")
    assert nights.night(FIRST_NIGHT + timedelta(days=1)) == {}


def test_what_was_missing_when_the_sensor_was_started_is_asked_for_at_night_and_not_before(
    bench: Bench,
) -> None:
    bench.done(bench.stages("capture"), [0, 1, 3])
    nights = Nights(bench)
    assert nights.at(FIRST_NIGHT - timedelta(minutes=2)) == {}
    asked = nights.at(FIRST_NIGHT)
    assert asked["activations"] == asked["neuron_records"] == [2]
    assert asked["sampled_activations"] == [0, 3], "layer 2 is to be captured before"


@pytest.mark.slow
def test_a_layer_that_failed_is_asked_for_again_the_next_night_and_not_before(bench: Bench) -> None:
    bench.done(bench.stages("capture") + bench.stages("sample"), list(range(4)))
    nights = Nights(bench)
    first = nights.night(FIRST_NIGHT, failing="simulations")
    assert first == everything(bench, "explain")

    second = nights.night(FIRST_NIGHT + timedelta(days=1))
    after = bench.stages("explain")
    assert second == {name: [0, 2, 3] for name in after[after.index("simulations") :]}
    assert nights.night(FIRST_NIGHT + timedelta(days=2)) == {}


@pytest.mark.slow
def test_a_night_explains_no_more_layers_than_it_may(bench: Bench) -> None:
    bench.done(bench.stages("capture") + bench.stages("sample"), list(range(4)))
    nights = Nights(bench, NEUROSCRIBE_NIGHTLY_LAYERS="2")
    asked = [nights.night(FIRST_NIGHT + timedelta(days=day))["scores"] for day in range(2)]
    assert asked == [[0, 2], [3]]
    assert nights.night(FIRST_NIGHT + timedelta(days=2)) == {}


@pytest.mark.slow
def test_what_another_study_code_or_prompt_made_is_refreshed(bench: Bench) -> None:
    older = STUDY.model_copy(update={"scoring": STUDY.scoring.model_copy(update={"seed": 7})})
    bench.done(bench.stages("capture") + bench.stages("sample"), list(range(4)))
    before = bench.stages("explain")[: bench.stages("explain").index("simulations")]
    bench.done(before, [0, 2, 3])
    after = bench.stages("explain")[len(before) :]
    bench.done(after, [0, 3])
    bench.done(after, [2], by=older)

    asked = Nights(bench).night(FIRST_NIGHT)
    assert asked["simulations"] == asked["scores"] == [2]
    assert "explanations" not in asked


def test_what_a_run_is_making_already_is_not_asked_for(bench: Bench) -> None:
    bench.done(bench.stages("capture") + bench.stages("sample"), list(range(4)))
    nights = Nights(bench)
    job = nights._defs.resolve_job_def("embedded_explain")
    tags = {"dagster/partition": "layer_02"}
    bench.instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    asked = nights.at(FIRST_NIGHT)
    assert asked["explanations"] == [0, 3]


def test_a_layer_that_a_check_blocks_is_made_again_from_its_scores_on(bench: Bench) -> None:
    bench.done(bench.stages("capture") + bench.stages("sample") + bench.stages("explain"), list(range(4)))
    bench.checked(2, passed=False)
    assert Nights(bench).at(FIRST_NIGHT) == {"scores": [2]}


def test_every_asset_but_the_published_dataset_shows_why_it_is_asked_for(bench: Bench) -> None:
    defs = build_defs([STUDY], environment=bench.environment)
    sensor = defs.get_repository_def().get_sensor_def("embedded_nightly")
    assert sensor.default_status == dg.DefaultSensorStatus.STOPPED
    graph = defs.resolve_asset_graph()
    for stage in bench.freshness.stages:
        condition = graph.get(key(STUDY, stage.name)).automation_condition
        assert condition is not None
        told = json.dumps(condition.get_snapshot(), default=repr)
        for words in (
            "chosen_for_tonight",
            "out_of_date",
            "all_that_it_rests_on_is_there",
            "neither_running",
        ):
            assert words in told


def with_files(folder: Path) -> Study:
    corpus = STUDY.corpus.model_copy(update={"artefact": None, "files": f"{folder}/*.txt"})
    return STUDY.model_copy(update={"corpus": corpus})


def test_new_texts_are_asked_for_once_they_stay_as_they_are(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("one")
    environment = Environment.read({"NEUROSCRIBE_STORE": str(tmp_path / "store")})
    defs = build_defs([with_files(texts)], environment=environment)
    sensor = defs.get_repository_def().get_sensor_def("embedded_new_texts")
    cursor: str | None = None

    def looked() -> dg.SensorResult:
        nonlocal cursor
        with dg.instance_for_test() as instance:
            context = dg.build_sensor_context(
                instance=instance, cursor=cursor, repository_def=defs.get_repository_def()
            )
            found = sensor.evaluate_tick(context)
        cursor = found.cursor or cursor
        return found

    assert not looked().run_requests
    assert not looked().run_requests
    (texts / "b.txt").write_text("two")
    assert not looked().run_requests, "it may still be written"
    (texts / "b.txt").write_text("two, and more")
    assert not looked().run_requests
    (request,) = looked().run_requests or ()
    assert request.asset_selection == [key(STUDY, "corpus")]
    assert request.tags[STUDY_TAG] == "embedded"
    assert not looked().run_requests
    for path in texts.iterdir():
        path.unlink()
    assert "names no file" in (looked().skip_message or "")


@pytest.fixture
def received() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """An address, what is posted there, and with which statuses it answers (200 after these)."""
    bodies: list[dict[str, Any]] = []
    statuses: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(statuses.pop(0) if statuses else 200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/services/T0/secret-hook-0123456789", bodies, statuses
    server.shutdown()
    server.server_close()


def test_a_failed_run_is_told_to_the_address_of_alerts_without_any_key(
    tmp_path: Path, received: tuple[str, list[dict[str, Any]], list[int]]
) -> None:
    url, bodies, _ = received
    environment = Environment.read(
        {
            "NEUROSCRIBE_ALERT_URL": url,
            "NEUROSCRIBE_STORE": str(tmp_path),
            "NEUROSCRIBE_LLM_API_KEY": "sk-0123456789abcdefghij",
        }
    )
    assert url not in repr(environment)
    defs = build_defs([STUDY], environment=environment)
    sensor = defs.get_repository_def().get_sensor_def("failure_alert")
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING

    @dg.op
    def broken() -> None:
        raise dg.Failure("the key sk-0123456789abcdefghij was refused")

    @dg.job
    def work() -> None:
        broken()

    with dg.instance_for_test() as instance:
        result = work.execute_in_process(
            instance=instance, raise_on_error=False, tags={STUDY_TAG: "embedded"}
        )
        event = next(e for e in result.all_events if e.event_type == dg.DagsterEventType.RUN_FAILURE)
        context = dg.build_run_status_sensor_context(
            sensor_name="failure_alert",
            dagster_instance=instance,
            dagster_run=result.dagster_run,
            dagster_event=event,
        ).for_run_failure()
        sensor(context)
    (body,) = bodies
    assert body["error"] == "the key [key] was refused"
    assert (body["run"], body["study"], body["job"]) == (result.run_id, "embedded", "work")
    assert body["text"].startswith("neuroscribe: a run failed: run ")


def test_an_address_that_takes_no_word_is_named_by_its_variable_alone(
    received: tuple[str, list[dict[str, Any]], list[int]],
) -> None:
    url, _, statuses = received
    statuses.append(404)
    for address in (url, "http://127.0.0.1:9/secret-hook-0123456789"):
        with pytest.raises(StoreError, match="NEUROSCRIBE_ALERT_URL does not take") as refusal:
            Webhook(address).post({"error": "x"})
        assert "secret-hook" not in str(refusal.value)
