"""The commit of the code: read from git where there is one, and never in the way."""

import subprocess
from pathlib import Path

import pytest

from dagster_project.commit import UNKNOWN, code_commit
from dagster_project.environments import Environment


def _git(folder: Path, *arguments: str) -> str:
    own = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", *own, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    _git(tmp_path, "init")
    (tmp_path / "code.py").write_text("1\n")
    _git(tmp_path, "add", "code.py")
    _git(tmp_path, "commit", "-m", "first")
    return tmp_path


def test_it_is_the_commit_that_is_checked_out_with_a_mark_where_tracked_files_differ(
    repository: Path,
) -> None:
    head = _git(repository, "rev-parse", "HEAD")
    assert code_commit(repository) == head
    (repository / "result.parquet").write_text("not tracked")
    assert code_commit(repository) == head
    (repository / "code.py").write_text("2\n")
    assert code_commit(repository) == f"{head}+changes"


def test_a_worktree_has_its_own(repository: Path) -> None:
    _git(repository, "worktree", "add", "beside")
    (repository / "beside" / "code.py").write_text("3\n")
    _git(repository / "beside", "commit", "-am", "second")
    beside = _git(repository / "beside", "rev-parse", "HEAD")
    assert code_commit(repository / "beside") == beside != code_commit(repository)


def test_it_is_unknown_without_repository_commit_or_git(repository: Path, tmp_path: Path) -> None:
    (repository / "inner").mkdir()
    assert code_commit(repository / "inner") == UNKNOWN  # its own, and not that of a folder above
    assert code_commit(repository, git="no-such-git") == UNKNOWN
    (repository / "inner" / ".git").write_text("damaged")
    assert code_commit(repository / "inner") == UNKNOWN
    (repository / "new").mkdir()
    _git(repository / "new", "init")
    assert code_commit(repository / "new") == UNKNOWN


def test_a_git_that_hangs_is_not_waited_for(repository: Path) -> None:
    slow = repository / "slow"
    slow.write_text("#!/bin/sh\nsleep 5\n")
    slow.chmod(0o755)
    assert code_commit(repository, git=str(slow), wait_s=0.1) == UNKNOWN


def test_an_image_without_repository_names_its_commit_by_a_variable() -> None:
    environment = Environment.read({"NEUROSCRIBE_COMMIT": "abc123"})
    assert environment.resources()["io_manager"].commit == "abc123"
