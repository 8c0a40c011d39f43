"""The commit of the code that runs, as git knows it: reported with every materialisation."""

import subprocess
from pathlib import Path

UNKNOWN = "unknown"
_CHANGED = "+changes"
_WAIT_S = 5.0


def code_commit(root: Path, *, git: str = "git", wait_s: float = _WAIT_S) -> str:
    """Return the commit that the folder `root` has checked out, with "+changes" where tracked files differ.

    "unknown" where there is no repository of its own (an image, an installed package), no git, or a git that
    refuses or does not answer in time: no definition fails to load because of it.
    """
    repository = root / ".git"
    if not repository.exists():
        return UNKNOWN
    # Named here, so that no variable of git (a hook sets some) leads to another repository. It takes no lock
    # and starts no file monitor: others may be at work in the same folder.
    own = [
        f"--git-dir={repository}",
        f"--work-tree={root}",
        "--no-optional-locks",
        "-c",
        "core.fsmonitor=false",
    ]
    status = ["status", "--porcelain=v2", "--branch", "--untracked-files=no"]
    try:
        said = subprocess.run(  # noqa: S603 - fixed arguments
            [git, *own, *status],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=wait_s,
            check=True,
        ).stdout.splitlines()
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    head, mark = "# branch.oid ", _CHANGED if any(not line.startswith("#") for line in said) else ""
    oid = next((line.removeprefix(head) for line in said if line.startswith(head)), "")
    return oid + mark if oid.isalnum() else UNKNOWN  # "(initial)" before the first commit
