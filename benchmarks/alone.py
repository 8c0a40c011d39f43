"""What keeps a measurement to itself: one thread, and a process whose memory is its own."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba
import torch

PROCESS = Path("/proc/self")


@contextmanager
def one_thread() -> Iterator[None]:
    """While open, torch and numba compute on one thread."""
    before = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(1)
    numba.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


def printed_apart(module: str, *arguments: str) -> str:
    """Return what a benchmark prints in a process of its own."""
    command = [sys.executable, "-m", module, *arguments]
    root = Path(__file__).parent.parent
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, cwd=root).stdout  # noqa: S603 - our own modules


def resident(field: str) -> int:
    """Return the bytes in a field of this process's status: VmRSS is the resident memory, VmHWM its peak.

    `getrusage` would count the memory of the parent too.
    """
    status = (PROCESS / "status").read_text(encoding="ascii")
    return int(re.findall(rf"{field}:\s+(\d+) kB", status)[0]) * 1024
