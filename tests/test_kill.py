"""A killed run continues: at most the calls in flight are repeated; the tables are those of a calm run."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from dagster_project.run import STOPPED
from neuroscribe.study.stages import TABLES
from neuroscribe.testing.planted import LAYERS, PlantedScript
from neuroscribe.testing.planted_study import MODEL, write_planted_study
from neuroscribe.testing.servers import ScriptedServer
from resources.store.tables import Tables

ROOT = Path(__file__).parent.parent
SEQUENCES = 2200
"""Enough that a capture that writes a checkpoint after every batch can be killed on the way."""
pytestmark = pytest.mark.slow


class Trap(PlantedScript):
    """Answers like the planted script, and kills a process at its n-th prompt or reading."""

    def __init__(self) -> None:
        super().__init__()
        self.replies = self.readings = 0
        self.kill_at_reply = self.kill_at_reading = -1
        self.kill: Callable[[], None] = lambda: None

    def reply(self, prompt_text: str) -> str:
        self.replies += 1
        if self.replies == self.kill_at_reply:
            self.kill()
        return super().reply(prompt_text)

    def digits(self, explanation: str, tokens: list[str]) -> list[int]:
        self.readings += 1
        if self.readings == self.kill_at_reading:
            self.kill()
        return super().digits(explanation, tokens)


def _started(folder: Path, store: str, **settings: str) -> subprocess.Popen[bytes]:
    environment = {
        **os.environ,
        "NEUROSCRIBE_STUDIES": str(folder / "studies"),
        "NEUROSCRIBE_STORE": str(folder / store),
        "DAGSTER_HOME": str(folder / f"{store}_home"),
        "NEUROSCRIBE_HUB": "0",
        "NEUROSCRIBE_LLM_CONCURRENCY": "1",
        "NEUROSCRIBE_BATCH_TOKENS": "64",
        "OMP_NUM_THREADS": "1",
        **settings,
    }
    command = [sys.executable, "-m", "dagster_project.run", "planted"]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )


def _finished(process: subprocess.Popen[bytes], *, says: bytes = b"") -> int:
    _, errors = process.communicate(timeout=300)
    assert says in errors
    assert process.returncode in (0, STOPPED, -signal.SIGKILL), errors.decode()[-2000:]
    return process.returncode


def _killed_when_a_checkpoint_is_there(process: subprocess.Popen[bytes], folder: Path) -> None:
    pattern = "planted/activations/tensors/*.open.safetensors"
    tick = threading.Event()
    while process.poll() is None and len(list(folder.glob(pattern))) < LAYERS:
        tick.wait(0.01)
    process.kill()


def _tables(folder: Path, store: str) -> dict[str, pl.DataFrame]:
    tables = Tables(str(folder / store))
    # The study names no scorer that judges excerpts or runs the subject, and no encoder.
    made = [
        name
        for name in TABLES
        if name
        not in (
            "encoded_corpus",
            "judgements",
            "ablations",
            "effects",
            "choices",
            "sentences",
            "predictability",
        )
    ]
    return {name: tables.read("planted", name) for name in made}


def test_killed_in_capture_explanation_and_simulation_and_stopped_the_run_ends_as_if_undisturbed(
    tmp_path: Path,
) -> None:
    script = Trap()
    with ScriptedServer(script, model=MODEL) as server:
        write_planted_study(tmp_path, base_url=server.base_url, sequences=SEQUENCES, documents=600)
        assert _finished(_started(tmp_path, "calm")) == 0
        replies, readings = script.replies, script.readings
        script.replies = script.readings = 0

        process = _started(tmp_path, "killed", NEUROSCRIBE_CHECKPOINT_SECONDS="0")
        _killed_when_a_checkpoint_is_there(process, tmp_path / "killed")
        assert _finished(process) == -signal.SIGKILL
        assert script.replies <= 1  # the tiny check beforehand
        for attribute, count in (("kill_at_reply", 12), ("kill_at_reading", 90)):
            setattr(script, attribute, count)
            process = _started(tmp_path, "killed")
            script.kill = process.kill
            assert _finished(process) == -signal.SIGKILL
        script.kill_at_reply, script.kill_at_reading = -1, 180
        process = _started(tmp_path, "killed")
        script.kill = lambda: process.send_signal(signal.SIGINT)
        assert _finished(process, says=b"stopped; the same command continues") == STOPPED
        script.kill_at_reading = -1
        assert _finished(_started(tmp_path, "killed")) == 0

    tiny_checks = 5 * (1 + LAYERS)
    assert script.replies <= replies + 1 + tiny_checks
    assert script.readings <= readings + 2 + tiny_checks
    calm, killed = _tables(tmp_path, "calm"), _tables(tmp_path, "killed")
    for name, frame in calm.items():
        assert killed[name].equals(frame), name
