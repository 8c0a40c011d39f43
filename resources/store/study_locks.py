"""One process at a time per study and store: by a lock on disks, by a lease on S3 (leases.py).

Both have the same name, beside the studies.
"""

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import Timeout
from upath import UPath

from neuroscribe.errors import StudyError
from resources.store.files import Files, store_errors
from resources.store.leases import LEASE_S, RENEW_S, Lease, writes_on_conditions
from resources.store.locks import ends_with_process, holder, locked
from resources.store.outages import is_remote

_WAIT_OR_STOP = "wait for it, or stop it: the next run continues where it ended"
_LOOK_S = 2.0
"""How often a lease is looked at that is waited for."""


def lock_name(study: str) -> str:
    """Return the name of a study's lock in a folder or store."""
    return f".{study}.lock"


_HELD: dict[tuple[str, str], tuple[Lease, int]] = {}
"""The leases of this process by store and study, with the thread that took each."""


@contextmanager
def held(
    root: str,
    study: str,
    *,
    endpoint_url: str | None = None,
    wait_s: float = 0,
    lease_s: float = LEASE_S,
    renew_s: float = RENEW_S,
) -> Iterator[None]:
    """Hold the lock of a study in a store, a local folder or `s3://bucket/prefix`.

    Within one thread it may be taken again. Raises StudyError, which says who holds it, when another process
    still does after `wait_s` seconds, and StoreError where no lock can be made. On a server of S3's kind that
    does not write on conditions there is no lock, which is said in a line.
    """
    if not is_remote(root):
        with _locked_folder(Path(root), study, wait_s):
            yield
        return
    place, me = (root.rstrip("/"), study), threading.get_ident()
    if place in _HELD and _HELD[place][1] == me:
        yield
        return
    path = Files(root, endpoint_url=endpoint_url).path(lock_name(study))
    if not writes_on_conditions(path):
        yield
        return
    lease = Lease(path, lease_s=lease_s, renew_s=renew_s)
    _wait_for(lease, study, path, wait_s)
    _HELD[place] = (lease, me)
    try:
        yield
    finally:
        del _HELD[place]
        lease.give_back()


def check_held(root: str, study: str) -> None:
    """Raise StoreError if this process held the lease of a study in a store and has lost it."""
    if found := _HELD.get((root.rstrip("/"), study)):
        found[0].check()


_STEPS = ".locks"
"""Folder of the locks of steps, beside the studies."""


@contextmanager
def writing(
    root: str, asset: Sequence[str], layers: Sequence[str], *, endpoint_url: str | None = None
) -> Iterator[None]:
    """Hold the locks of what a step writes, so that no two runs make the same layer of an asset at once.

    Raises StudyError, which says who does, where one is made already. Memory, and S3 servers that know no
    conditions, have no locks.
    """
    name = ".".join(asset)
    with _steps_held(root, [f"{name}.{layer}" for layer in layers] or [name], endpoint_url):
        yield


@contextmanager
def no_step_writing(root: str, study: str, *, endpoint_url: str | None = None) -> Iterator[None]:
    """Keep all steps that have ever written for a study from writing; raises StudyError while one does."""
    files = [] if root.startswith("memory:") else Files(root, endpoint_url=endpoint_url).names(_STEPS)
    # What ends in .running is a lock on a disk that has none of its own (locks.py).
    written = [re.fullmatch(rf"\.({re.escape(study)}\..+)\.(lock|running)", name) for name in files]
    with _steps_held(root, sorted({found[1] for found in written if found}), endpoint_url):
        yield


@contextmanager
def _steps_held(root: str, steps: Sequence[str], endpoint_url: str | None) -> Iterator[None]:
    with ExitStack() as stack:
        for step in [] if root.startswith("memory:") else steps:
            stack.enter_context(held(f"{root.rstrip('/')}/{_STEPS}", step, endpoint_url=endpoint_url))
        yield


@contextmanager
def _locked_folder(folder: Path, study: str, wait_s: float) -> Iterator[None]:
    path = folder / lock_name(study)
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(path, wait_s=wait_s))
        except Timeout as taken:
            remedy = (
                _WAIT_OR_STOP
                if ends_with_process(taken)
                else "the disk has no locks that end with their process: if that one is gone, remove"
                f" {taken.lock_file}; the next run continues where it ended"
            )
            raise StudyError(_in_use(study, folder, holder(taken), remedy)) from None
        except OSError:
            with store_errors(path, "locked"):
                raise
        yield


def _wait_for(lease: Lease, study: str, path: UPath, wait_s: float) -> None:
    until = time.monotonic() + wait_s
    while (other := lease.taken()) is not None:
        left = until - time.monotonic()
        if left <= 0:
            gone = f"if it is gone, its lock ends by itself within {other.lease_s:.0f} seconds"
            who = f"{other.holder} (lock {path})"
            raise StudyError(_in_use(study, str(path.parent), who, f"{_WAIT_OR_STOP}; {gone}"))
        time.sleep(min(_LOOK_S, left))


def _in_use(study: str, store: object, who: str, remedy: str) -> str:
    """Return what to do while another process holds the lock of a study."""
    return f"study {study} is being run from {store} by another process, {who}; {remedy}"
