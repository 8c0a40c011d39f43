"""Writes the lock files anew: all distributions that the setup installs, with the hashes of all their files.

    make lock                     releases stay as they are, where pyproject.toml still allows them
    make lock UPGRADE=--upgrade   the newest ones that it allows

The files hold for every platform and Python that the project supports. `requirements-torch-cpu.lock` is not
written here: it names a wheel that some machines bring along, by the hash that `pip hash` tells.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
HEADS = {
    "requirements.lock": "What dagster_project, and its installation, need beside torch.",
    "requirements-torch.lock": "torch for all devices, with its CUDA libraries for Linux.",
    "requirements-deploy.lock": "What the image of deploy/ needs beyond the first two.",
    "requirements-ray.lock": "What the machines of a Ray cluster, and its users, need beyond these two.",
    "requirements-dev.lock": "What linting and testing need beyond these three.",
}
FOR_TORCH = re.compile(r"torch|triton|cuda-.*|nvidia-.*")
"""Distributions that only torch asks for, and its builds for CPUs do not."""


def main() -> None:
    """Write the five files; arguments go to `uv pip compile`."""
    app = _pins("--extra", "app", "--group", "setup")
    deploy = _pins("--extra", "app", "--group", "setup", "--extra", "deploy")
    ray = _pins("--extra", "app", "--group", "setup", "--extra", "ray")
    dev = _pins("--extra", "app", "--group", "setup", "--extra", "ray", "--extra", "dev")
    torch = {name for name in app if FOR_TORCH.fullmatch(name)}
    _write("requirements.lock", {name: pin for name, pin in app.items() if name not in torch})
    _write("requirements-torch.lock", {name: app[name] for name in torch})
    _write("requirements-deploy.lock", {name: pin for name, pin in deploy.items() if name not in app})
    _write("requirements-ray.lock", {name: pin for name, pin in ray.items() if name not in app})
    _write("requirements-dev.lock", {name: pin for name, pin in dev.items() if name not in ray})


def _pins(*wanted: str) -> dict[str, str]:
    """Return, by distribution, the lines that pin it, its platforms and its hashes."""
    with TemporaryDirectory() as folder:
        out = Path(folder, "lock")
        # Releases in the file that is written over are preferred.
        out.write_text("".join(path.read_text("utf-8") for path in sorted(ROOT.glob("requirements*.lock"))))
        command = ["uv", "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"]
        command += ["--generate-hashes", "--no-annotate", "--no-header", "--no-config", "-o", str(out)]
        uv = [str(Path(sys.executable).parent / command[0]), *command[1:]]
        subprocess.run([*uv, *wanted, *sys.argv[1:], "pyproject.toml"], cwd=ROOT, check=True)  # noqa: S603 - ours
        blocks = re.split(r"^(?=\w)", out.read_text("utf-8"), flags=re.MULTILINE)
    return {re.split("[=@ ]", block)[0]: block for block in blocks if block.strip()}


def _write(name: str, pins: dict[str, str]) -> None:
    head = f"# {HEADS[name]} `make lock` writes this file.\n"
    (ROOT / name).write_text(head + "".join(pins[each] for each in sorted(pins)), encoding="utf-8")


if __name__ == "__main__":
    main()
