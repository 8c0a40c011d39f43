"""The shards of a capture as tasks of a Ray cluster, which share nothing but the store.

What a task is told stands in Ray's dashboard: names and places, never a key. A worker has those in its own
environment, in which `ray start` was called.
"""

import logging
import socket
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayError

from dagster_project.environments import Environment, settle
from dagster_project.shard import capture, corpus
from neuroscribe.capture.plan import capture_plan
from neuroscribe.capture.run import shard_range
from neuroscribe.errors import CaptureError, NeuroscribeError, StudyError
from neuroscribe.kinds import read_studies
from neuroscribe.ports.stores import Progress
from neuroscribe.secrets.known import without_secrets
from neuroscribe.study.files import chosen_study
from neuroscribe.study.spec import Study
from neuroscribe.study.stages import stage_version
from resources.pace import Alarm

_REACH_S = 10.0
_LOOK_S = 1.0
"""How often the driver looks for what has ended and how far the others are."""


@dataclass(frozen=True)
class Asked:
    """How a capture is shared out."""

    shards: int
    layers: Sequence[int] | None
    """None: all."""
    cpus: float
    gpus: float
    retries: int
    """How many killed workers a shard outlives."""


@dataclass(frozen=True)
class Shard:
    """What a worker is told of its task."""

    study: str
    version: str
    """Identity of the stage, which the worker's own files have to have as well."""
    shard: int
    shards: int
    layers: Sequence[int] | None


class Tally:
    """An actor that knows how far the shards under way have come."""

    def __init__(self) -> None:
        self._states: dict[int, tuple[int, str]] = {}

    def tell(self, shard: int, done: int, note: str) -> None:
        """Take note of the sequences that a shard has taken."""
        self._states[shard] = done, note

    def states(self) -> dict[int, tuple[int, str]]:
        """Return sequences and the last note by shard."""
        return self._states


class Reported:
    """Fulfils the port Progress on a worker: tells a tally how far its shard has come."""

    def __init__(self, tally: Any, shard: int) -> None:
        self._tally, self._shard = tally, shard

    @contextmanager
    def task(self, label: str, *, total: int, unit: str) -> Iterator[Callable[..., None]]:
        """Open a task, of which sequences are reported; nobody waits for the report to arrive."""
        done = 0

        def advance(n: int = 1, note: str = "") -> None:
            nonlocal done
            done += n
            if unit == "sequences":
                self._tally.tell.remote(self._shard, done, note)

        yield advance

    def alarm(self, seconds: float) -> Callable[[], bool]:
        """Return a function that is true the first time it is called after every so many seconds."""
        return Alarm(seconds, time.monotonic)


def capture_on_ray(study: Study, environment: Environment, asked: Asked) -> None:
    """Capture all shards; raises CaptureError that names each shard which failed, with the reason."""
    sequences, block = len(corpus(study, environment)), capture_plan(study).block
    parts = [shard_range(sequences, shard, asked.shards, block) for shard in range(max(1, asked.shards))]
    with _joined(environment.ray_address):
        _warn_of_lack(asked)
        tally = ray.remote(num_cpus=0, max_restarts=-1)(Tally).remote()
        task = ray.remote(num_cpus=asked.cpus, num_gpus=asked.gpus, max_retries=asked.retries)(captured)
        version = stage_version(study, "activations")
        going = {
            # What the dashboard calls it.
            task.options(name=f"capture {study.name}, shard {shard} of {asked.shards}").remote(
                Shard(study.name, version, shard, asked.shards, asked.layers), environment.told(), tally
            ): shard
            for shard in range(asked.shards)
        }
        sizes = {shard: len(part) for shard, part in enumerate(parts)}
        label = f"capture {study.name} on Ray"
        failed = _awaited(going, tally, sizes, label, environment.resources()["progress"])
    if failed:
        reasons = [f"shard {shard}: {failed[shard]}" for shard in sorted(failed)]
        raise CaptureError(
            f"{len(failed)} of {asked.shards} shards of {study.name} are not captured; the same command goes"
            " on with them\n" + "\n".join(reasons)
        )


def captured(task: Shard, told: Mapping[str, str], tally: Any) -> str | None:
    """Capture a shard on a worker; returns None, or why not.

    Nothing is raised: Ray would keep and show the error as it is, with whatever secret is in it.
    """
    try:
        environment = Environment.of_worker(told)
        settle(environment)
        study = chosen_study(read_studies(environment.studies), task.study)
        if stage_version(study, "activations") != task.version:
            raise StudyError(
                f"study {task.study} or the code is another one on {ray.util.get_node_ip_address()}; give all"
                " machines the same checkout"
            )
        capture(
            study,
            environment,
            shard=task.shard,
            shards=task.shards,
            layers=task.layers,
            progress=Reported(tally, task.shard),
        )
    except NeuroscribeError as error:
        return str(error)
    except Exception as error:
        sys.stderr.write(without_secrets(traceback.format_exc()))
        return without_secrets(
            f"{type(error).__name__}: {error} (the traceback is in Ray's log of the worker)"
        )
    return None


def _awaited(
    going: dict[Any, int], tally: Any, sizes: Mapping[int, int], label: str, progress: Progress
) -> dict[int, str]:
    """Show how far the shards are until all have ended; return why some failed, by shard."""
    failed: dict[int, str] = {}
    shown, shards = 0, len(going)
    with progress.task(label, total=sum(sizes.values()), unit="sequences") as advance:
        while going:
            for ended in ray.wait(list(going), num_returns=len(going), timeout=_LOOK_S)[0]:
                shard = going.pop(ended)
                if reason := _reason(ended):
                    failed[shard] = reason
            states = _states(tally)
            under_way = {shard: states.get(shard, (0, "")) for shard in going.values()}
            captured = [size for shard, size in sizes.items() if shard not in {*under_way, *failed}]
            done = sum(captured) + sum(taken for taken, _ in under_way.values())
            notes = [f"shard {shard}: {note}" for shard, (_, note) in under_way.items() if note]
            advance(done - shown, note="; ".join([f"{len(captured)} of {shards} shards", *notes]))
            shown = done
    return failed


def _states(tally: Any) -> dict[int, tuple[int, str]]:
    """Return how far the shards are, as far as it is known: the tally may be starting, or be lost."""
    with suppress(RayError):
        return ray.get(tally.states.remote(), timeout=_LOOK_S)
    return {}


def _reason(ended: Any) -> str | None:
    """Return why a task failed, if it did."""
    try:
        return ray.get(ended)
    except RayError as error:  # of the worker, its machine or the cluster
        return f"{type(error).__name__}: {str(error).strip().splitlines()[-1]}"


def _warn_of_lack(asked: Asked) -> None:
    """Say what no machine of the cluster has: tasks wait for it, which may be for ever."""
    there = ray.cluster_resources()
    for name, wanted in (("CPU", asked.cpus), ("GPU", asked.gpus)):
        if there.get(name, 0.0) < wanted:
            sys.stderr.write(
                f"warning: the cluster has {there.get(name, 0.0):g} {name}s, and a shard asks for {wanted:g};"
                " shards wait until a machine joins that has them\n"
            )


@contextmanager
def _joined(address: str) -> Iterator[None]:
    """Be a driver of a cluster; raises StudyError where none answers."""
    try:
        _check_reachable(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        raise StudyError(
            f"{address}: no Ray cluster can be joined there ({str(error).strip().splitlines()[0]}); start one"
            " by `ray start --head`, or name it by --address or NEUROSCRIBE_RAY_ADDRESS"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise OSError where nothing listens at an address: Ray itself would try for a quarter of an hour."""
    place = urlsplit(address if "://" in address else f"//{address}")
    if place.hostname and place.port:
        socket.create_connection((place.hostname, place.port), timeout=_REACH_S).close()
