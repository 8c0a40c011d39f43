"""Captures in a process whose address space is limited, so that allocations fail where they really would."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
STATM = Path("/proc/self/statm")
HEADROOMS = ("2000", "300", "200", "100", "50", "20")
"""MB. The batch takes about a gigabyte, and more in the reduction than in the subject's pass."""


@pytest.mark.slow
@pytest.mark.skipif(not STATM.exists(), reason="only Linux limits a process's address space")
def test_a_capture_in_scarce_memory_gives_what_it_gives_in_ample_memory() -> None:
    command = [sys.executable, "-m", "tests.neuroscribe.capture.scarce_memory", *HEADROOMS]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    ample, *scarce = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert not ample["notes"]
    assert [one["headroom"] for one in scarce] == [int(headroom) for headroom in HEADROOMS[1:]]
    assert all(one["right"] and all(one["right"]) for one in (ample, *scarce))
    assert all(one["notes"] for one in scarce)
    assert any(note.endswith("on with batches of 300") for one in scarce for note in one["notes"])
