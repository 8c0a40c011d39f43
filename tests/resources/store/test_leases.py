"""A study's lock on S3: one of two takers gets it, a dead one's ends by itself, and who lost it is told."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from neuroscribe.errors import StoreError, StudyError
from resources.store import leases
from resources.store.files import Files
from resources.store.leases import Lease, Taken
from resources.store.objects import Piece
from resources.store.study_locks import held, lock_name
from resources.store.tables import Tables
from tests.resources.store.forgetful import Forgetful
from tests.resources.store.lookup_rows import lookup


def _lease(bucket: Any, **times: float) -> Lease:
    path = Files(bucket.root, endpoint_url=bucket.endpoint_url).path(lock_name("tiny"))
    return Lease(path, **times)


def _stored(bucket: Any) -> dict[str, Any]:
    return json.loads(bucket.client.get_object(Bucket="neurons", Key="store/.tiny.lock")["Body"].read())


def _elsewhere(work: Callable[[], object]) -> None:
    """Do something where the locks of this thread are not ours."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()


def test_of_many_takers_at_once_one_gets_the_lease(any_bucket: Any) -> None:
    takers = [_lease(any_bucket) for _ in range(6)]
    for _ in range(3):
        start, got = threading.Barrier(len(takers)), list[Lease]()

        def take(taker: Lease, start: threading.Barrier, got: list[Lease]) -> None:
            start.wait()
            if taker.taken() is None:
                got.append(taker)

        with ThreadPoolExecutor(len(takers)) as pool:
            for result in [pool.submit(take, taker, start, got) for taker in takers]:
                result.result()
        assert len(got) == 1
        got[0].give_back()
        takers = [_lease(any_bucket) for _ in range(6)]


def test_a_study_is_run_once_per_store_and_its_holder_is_named(any_bucket: Any) -> None:
    place = {"endpoint_url": any_bucket.endpoint_url}

    def enter() -> None:
        with held(any_bucket.root, "tiny", **place):
            pass

    with held(any_bucket.root, "tiny", **place), held(any_bucket.root, "tiny", **place):
        with pytest.raises(
            StudyError, match=r"from s3://neurons/store by another process, process \d+ on .* 2"
        ):
            _elsewhere(enter)
        _elsewhere(lambda: held(any_bucket.root, "other", **place).__enter__())
    enter()
    assert _stored(any_bucket)["free"]


def test_a_lease_that_is_not_renewed_is_taken_over_and_its_holder_writes_no_table_more(
    any_bucket: Any,
) -> None:
    tables = Tables(any_bucket.root, endpoint_url=any_bucket.endpoint_url)
    with held(any_bucket.root, "tiny", endpoint_url=any_bucket.endpoint_url, lease_s=1, renew_s=1000):
        tables.write(lookup(0), "tiny", "token_lookup", 0, provenance={})
        patient = _lease(any_bucket)
        until = time.monotonic() + 20
        while patient.taken() is not None and time.monotonic() < until:
            time.sleep(0.2)
        with pytest.raises(
            StoreError, match=r"held up for longer than its lock holds .* has taken the study over"
        ):
            tables.write(lookup(1), "tiny", "token_lookup", 1, provenance={})
    assert tables.layers("tiny", "token_lookup") == [0]
    assert not _stored(any_bucket)["free"]
    patient.check()
    patient.give_back()


def test_a_lease_is_renewed_while_its_process_lives(bucket: Any) -> None:
    lease = _lease(bucket, lease_s=1, renew_s=0.2)
    assert lease.taken() is None
    time.sleep(2.5)
    other = _lease(bucket).taken()
    assert other is not None
    assert _stored(bucket)["renewals"] > 3
    lease.give_back()


def test_the_lease_of_a_killed_process_of_this_machine_is_taken_over_at_once(bucket: Any) -> None:
    code = (
        "import os, sys; from resources.store.files import Files; from resources.store.leases import Lease\n"
        "path = Files(sys.argv[1], endpoint_url=sys.argv[2]).path('.tiny.lock')\n"
        "assert Lease(path).taken() is None; os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", code, bucket.root, bucket.endpoint_url]
    assert subprocess.run(command, cwd=Path(__file__).parents[3]).returncode == -9
    assert not _stored(bucket)["free"]
    lease = _lease(bucket)
    assert lease.taken() is None
    lease.give_back()


def test_age_is_told_by_the_servers_clock_and_a_damaged_lease_is_held_until_it_is_old() -> None:
    said = {
        "token": "t",
        "host": "h\n\x1b[2J",
        "process": 1,
        "machine": "",
        "since": "2030",
        "lease_s": 60,
        "free": False,
    }
    for age_s, over in ((None, False), (-5.0, False), (60.9, False), (61.1, True)):
        taken = Taken.of(Piece(json.dumps(said).encode(), "v", age_s))
        assert (taken.is_over, taken.holder) == (over, "process 1 on h\\n\\u001b[2J since 2030")
    for damaged in (b"", b"[]", b"[" * 100_000, b'{"lease_s": {}}'):
        assert not Taken.of(Piece(damaged, "v", leases.LEASE_S)).is_over
        assert Taken.of(Piece(damaged, "v", leases.LEASE_S + 2)).is_over


def test_a_server_that_writes_whatever_the_condition_is_found_out_and_told_in_one_line(
    bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(Forgetful(bucket.endpoint_url)) as server:
        endpoint_url = server.address
        for study in ("tiny", "tiny", "other"):
            with held("s3://neurons/forgetful", study, endpoint_url=endpoint_url):
                _elsewhere(
                    lambda study=study: held(
                        "s3://neurons/forgetful", study, endpoint_url=endpoint_url
                    ).__enter__()
                )
    said = capsys.readouterr().err
    assert said.count("does not write on conditions") == 1
    assert bucket.keys() == []
