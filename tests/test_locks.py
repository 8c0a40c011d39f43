"""Who holds a study's lock, on disks with locks and on those without."""

import errno
import os
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import BaseFileLock, Timeout

from dagster_project.alone import study_alone
from dagster_project.environments import ROOT, Environment
from neuroscribe.errors import StoreError, StudyError
from neuroscribe.kinds import read_study
from resources.store.locks import ends_with_process, holder, locked


def _no_locks(*_: Any, **__: Any) -> BaseFileLock:
    raise OSError(errno.ENOLCK, "No locks available")


def _left_by(folder: Path, process: int, host: str) -> Path:
    path = folder / ".planted.running"
    path.write_text(f"{process}\n{host}\n", encoding="utf-8")
    return path


def _dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_taken_lock_says_who_holds_it_where_and_since_when(tmp_path: Path) -> None:
    def taken() -> str:
        with pytest.raises(Timeout) as raised, locked(tmp_path / ".planted.lock"):
            pass
        assert ends_with_process(raised.value)
        return holder(raised.value)

    with locked(tmp_path / ".planted.lock"), ThreadPoolExecutor(1) as pool:
        said = pool.submit(taken).result()
    assert said.startswith(f"process {os.getpid()} on {socket.gethostname()} since 20")
    assert said.endswith(f"(lock file {tmp_path}/.planted.lock)")


def test_a_lock_may_be_taken_again_by_the_same_process_and_after_it_is_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with locked(tmp_path / ".planted.lock"), locked(tmp_path / ".planted.lock"):
            pass


def test_without_locks_of_the_system_a_file_keeps_others_out(tmp_path: Path) -> None:
    with locked(tmp_path / ".planted.lock", of_system=_no_locks):
        process = (tmp_path / ".planted.running").read_text(encoding="utf-8").split("\n")[0]
        assert process == str(os.getpid())
    assert not (tmp_path / ".planted.running").exists()


def test_what_a_dead_process_of_this_machine_left_is_taken_over(tmp_path: Path) -> None:
    path = _left_by(tmp_path, _dead_process(), socket.gethostname())
    os.utime(path, (1, 1))
    with locked(tmp_path / ".planted.lock", of_system=_no_locks):
        assert path.read_text(encoding="utf-8").startswith(f"{os.getpid()}\n")


def test_what_another_machine_left_is_refused_with_its_name_and_the_file(tmp_path: Path) -> None:
    path = _left_by(tmp_path, 123, "node17")
    with pytest.raises(Timeout) as raised, locked(tmp_path / ".planted.lock", of_system=_no_locks):
        pass
    assert not ends_with_process(raised.value)
    assert holder(raised.value).startswith("process 123 on node17 since 20")
    assert str(path) in holder(raised.value)
    path.write_bytes(b"\xff")
    assert holder(raised.value) == f"a process that left no name (lock file {path})"


def test_a_study_in_use_names_holder_and_remedy(tmp_path: Path) -> None:
    study = read_study(ROOT / "studies" / "embedded.toml")
    environment = Environment.read({"NEUROSCRIBE_STORE": str(tmp_path), "DAGSTER_HOME": str(tmp_path)})

    def refused() -> str:
        with pytest.raises(StudyError) as raised, study_alone(study, environment):
            pass
        return str(raised.value)

    with locked(tmp_path / ".embedded.lock"), ThreadPoolExecutor(1) as pool:
        said = pool.submit(refused).result()
    assert f"by another process, process {os.getpid()} on " in said
    assert said.endswith("wait for it, or stop it: the next run continues where it ended")


def test_a_lock_that_cannot_be_made_is_a_fault_of_the_store(tmp_path: Path) -> None:
    study = read_study(ROOT / "studies" / "embedded.toml")
    (tmp_path / "file").write_bytes(b"")
    variables = {"NEUROSCRIBE_STORE": str(tmp_path / "file/store"), "DAGSTER_HOME": str(tmp_path / "home")}
    belongs = r"file is a file where a folder belongs"
    with pytest.raises(StoreError, match=belongs), study_alone(study, Environment.read(variables)):
        pass


def test_a_taken_lock_is_waited_for(tmp_path: Path) -> None:
    path = _left_by(tmp_path, 123, "node17")
    gone = threading.Timer(0.2, path.unlink)
    gone.start()
    with locked(tmp_path / ".planted.lock", wait_s=20, of_system=_no_locks):
        assert path.exists()
    gone.join()
