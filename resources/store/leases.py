"""A lease on S3, an object that its holder renews: who has it may run a study.

It is written on conditions alone (that it is absent, or still of the version seen), so that of two takers one
succeeds. Its age is told by the server's clock, never by this machine's. Who was held up for longer than the
lease, and lost it, learns that from `check`.
"""

import json
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from upath import UPath

from neuroscribe.errors import StoreError
from neuroscribe.text.escaping import escaped
from resources.store import objects
from resources.store.files import store_errors
from resources.store.outages import answered_with, patient

LEASE_S, RENEW_S = 120.0, 30.0
PROBE = ".probe"
"""Ending of the objects by which a server is tried."""
_NOT_UNDERSTOOD = (400, 405, 501)
"""How servers answer that refuse conditions which they do not know."""


@dataclass(frozen=True)
class Taken:
    """What a lease that is there says, its version, and its age in seconds by the server's clock."""

    token: str
    host: str
    process: int
    machine: str
    since: str
    lease_s: float
    free: bool
    version: str
    age_s: float | None

    @classmethod
    def of(cls, piece: objects.Piece) -> "Taken":
        """Read a lease; one that is damaged is held by nobody known, for as long as one usually is."""
        try:
            said: Any = json.loads(piece.data)
            fields: dict[str, Any] = {name: kind(said[name]) for name, kind in _FIELDS.items()}
        except (ValueError, TypeError, KeyError, RecursionError):
            fields = {name: kind() for name, kind in _FIELDS.items()} | {"lease_s": LEASE_S}
        return cls(**fields, version=piece.version, age_s=piece.age_s)

    @property
    def is_over(self) -> bool:
        """Tell whether it may be taken: given back, not renewed in time, or of a dead process."""
        # Servers tell times to the second.
        expired = self.age_s is not None and self.age_s > self.lease_s + 1
        return self.free or expired or (self.machine != "" and self.machine == _machine() and self._is_dead)

    @property
    def holder(self) -> str:
        """Return who holds it, and since when."""
        return f"process {self.process} on {_shown(self.host)} since {_shown(self.since)}"

    @property
    def _is_dead(self) -> bool:
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return True
        except (PermissionError, OverflowError):
            return False
        return False


_FIELDS: dict[str, Callable[..., Any]] = {
    "token": str, "host": str, "process": int, "machine": str, "since": str, "lease_s": float, "free": bool,
}  # fmt: skip


class Lease:
    """A study's lease in a bucket, of one taker."""

    def __init__(self, path: UPath, *, lease_s: float = LEASE_S, renew_s: float = RENEW_S) -> None:
        """Name the object; it is held for `lease_s` seconds at a time and renewed every `renew_s` seconds."""
        self._path, self._lease_s, self._renew_s = path, lease_s, renew_s
        self._token, self._since = uuid4().hex, datetime.now(UTC).isoformat(timespec="minutes")
        self._version, self._times, self._renewed = "", 0, 0.0
        self._lost: str | None = None
        self._renewing, self._over = threading.Lock(), threading.Event()

    def taken(self) -> Taken | None:
        """Take the lease if nobody holds it; return who does otherwise. Raises StoreError."""
        with store_errors(self._path, "locked"):
            other = patient(self._path, self._take)
        if other is None:
            threading.Thread(target=self._renew_until_over, daemon=True).start()
        return other

    def check(self) -> None:
        """Raise StoreError if another process has taken the lease, for this one was held up for too long."""
        if self._lost is None and _clock() - self._renewed > self._lease_s / 2:
            self._renew()
        if self._lost is not None:
            raise StoreError(
                f"{self._path}: this process was held up for longer than its lock holds ({self._lease_s:.0f}"
                f" seconds), and {self._lost} has taken the study over; it ends here, and what it has written"
                " is kept"
            )

    def give_back(self) -> None:
        """Let others take it; a server that does not answer lets them when the lease is over."""
        self._over.set()
        with self._renewing, suppress(Exception):
            if self._lost is None:
                # Not every server removes on a condition; all that know any write on one.
                objects.put(self._path, self._content(free=True), version=self._version)

    def _take(self) -> Taken | None:
        while True:
            self._times += 1
            if self._written(objects.put(self._path, self._content(), absent=True)):
                return None
            piece = objects.found(self._path)
            if piece is None:
                continue  # given back and removed meanwhile
            other = Taken.of(piece)
            if other.token == self._token:  # the answer to our own request was lost
                self._written(piece.version)
                return None
            if not other.is_over:
                return other
            if self._written(objects.put(self._path, self._content(), version=other.version)):
                return None

    def _renew_until_over(self) -> None:
        while not self._over.wait(self._renew_s) and self._lost is None:
            with suppress(StoreError):  # S3 was down for longer than anybody waits: `check` will say so
                self._renew()

    def _renew(self) -> None:
        with self._renewing, store_errors(self._path, "locked"):
            if not self._over.is_set() and self._lost is None:
                patient(self._path, self._renew_once)

    def _renew_once(self) -> None:
        # Each renewal is of another content, so that a taker who saw the one before cannot replace it.
        self._times += 1
        if self._written(objects.put(self._path, self._content(), version=self._version)):
            return
        piece = objects.found(self._path)
        other = Taken.of(piece) if piece else None
        if other and other.token == self._token:
            self._written(other.version)
        else:
            self._lost = other.holder if other else "somebody"

    def _written(self, version: str | None) -> bool:
        if version is not None:
            self._version, self._renewed = version, _clock()
        return version is not None

    def _content(self, *, free: bool = False) -> bytes:
        said = {
            "token": self._token,
            "host": socket.gethostname(),
            "process": os.getpid(),
            "machine": _machine(),
            "since": self._since,
            "lease_s": self._lease_s,
            "free": free,
            "renewals": self._times,
        }
        return json.dumps(said).encode()


_KNOWN: dict[str, bool] = {}
"""Whether a bucket's server writes on conditions, as far as this process has tried."""


def writes_on_conditions(path: UPath) -> bool:
    """Tell whether a server writes on conditions, and say so in a line if it does not."""
    bucket = str(path.parent)
    if bucket not in _KNOWN:
        probe = path.with_name(f"{path.name}.{uuid4().hex}{PROBE}")
        with store_errors(probe, "locked"):
            _KNOWN[bucket] = patient(probe, lambda: _keeps_conditions(probe))
        if not _KNOWN[bucket]:
            sys.stderr.write(
                f"warning: {path.parent}: this server does not write on conditions, so no lock keeps two"
                " processes from running a study at once; see to it that one does\n"
            )
    return _KNOWN[bucket]


def _keeps_conditions(probe: UPath) -> bool:
    """Tell whether a server refuses to write where a condition does not hold, and writes where one does."""
    try:
        first = objects.put(probe, b"1", absent=True)
        return (
            first is not None
            and objects.put(probe, b"2", absent=True) is None
            and objects.put(probe, b"3", version=f'"{"0" * 32}"') is None
            and objects.put(probe, b"4", version=first) is not None
        )
    except OSError as error:
        if answered_with(error)[0] in _NOT_UNDERSTOOD:
            return False
        raise
    finally:
        with suppress(OSError):
            probe.fs.rm_file(probe.path)


def _clock() -> float:
    """Return seconds that also pass while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()


def _machine() -> str:
    """Return what names this machine as it was started, and its processes' space; empty where none can be."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _shown(said: str) -> str:
    """Return what another process has written as it may be shown."""
    return re.sub(r"\s+", " ", escaped(said[:80].encode(errors="replace")))
