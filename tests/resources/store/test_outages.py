"""S3 that does not do what is asked: what passes is waited for, what never can is told at once."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import torch

from neuroscribe.errors import StoreError
from resources.store.files import Files
from resources.store.outages import ReplacedError, unreplaced, wait_for_s3
from resources.store.tensors import SafetensorFiles
from tests.resources.store.wires import Wire, refusal


@pytest.fixture
def wire(bucket: Any) -> Iterator[Wire]:
    with closing(Wire(int(bucket.endpoint_url.rpartition(":")[2]))) as wire:
        yield wire


def test_a_server_that_is_away_for_seconds_is_waited_for(
    bucket: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    server = int(bucket.endpoint_url.rpartition(":")[2])
    wire = Wire(server)
    files = Files(bucket.root, endpoint_url=wire.address)
    files.write("a", b"before")
    wire.close()
    again: list[Wire] = []
    port = int(wire.address.rpartition(":")[2])
    starting = threading.Timer(3, lambda: again.append(Wire(server, at=port)))
    wire.cut()
    starting.start()
    files.write("b", b"during")
    assert (files.read("a"), files.read("b")) == (b"before", b"during")
    starting.join()
    again[0].close()
    assert f"S3 ({wire.address}, bucket neurons) does not answer, trying again" in capsys.readouterr().err


def test_an_answer_that_is_cut_off_in_the_middle_is_asked_for_again(bucket: Any, wire: Wire) -> None:
    data = bytes(range(256)) * 4096
    files = Files(bucket.root, endpoint_url=wire.address)
    files.write("a", data)
    wire.cuts = 3
    assert files.read("a") == data
    wire.cuts = 3
    assert files.read_ranges([("a", 5, 500_000)]) == [data[5:500_000]]
    assert wire.cuts == 0


def test_a_server_that_asks_for_fewer_requests_gets_them(bucket: Any, wire: Wire) -> None:
    files = Files(bucket.root, endpoint_url=wire.address)
    wire.answers = [refusal("503 Slow Down", "SlowDown")] * 3 + [refusal("500 Internal", "InternalError")] * 2
    files.write("a", b"x")
    assert files.read("a") == b"x"
    assert wire.answers == []


@pytest.mark.parametrize(
    ("status", "code", "header", "says"),
    [
        (
            "403 Forbidden",
            "InvalidAccessKeyId",
            "",
            "does not know this access key; correct AWS_ACCESS_KEY_ID",
        ),
        ("403 Forbidden", "SignatureDoesNotMatch", "", "correct AWS_SECRET_ACCESS_KEY"),
        ("403 Forbidden", "AccessDenied", "", "access is denied; give these credentials the right"),
        ("400 Bad Request", "ExpiredToken", "", "the credentials have expired; renew them"),
        ("403 Forbidden", "RequestTimeTooSkewed", "", "this machine's clock is wrong"),
        ("404 Not Found", "NoSuchBucket", "", "the bucket does not exist; create it, or name another store"),
        (
            "400 Bad Request",
            "AuthorizationHeaderMalformed",
            "x-amz-bucket-region: eu-west-3",
            "the bucket is in another region; set AWS_DEFAULT_REGION=eu-west-3",
        ),
        ("405 Method Not Allowed", "MethodNotAllowed", "", "what answers is no S3; check the endpoint"),
    ],
)
def test_what_never_can_succeed_is_told_at_once_with_its_remedy(
    bucket: Any, wire: Wire, status: str, code: str, header: str, says: str
) -> None:
    wire.answers = [refusal(status, code, *([header] if header else []))] * 4
    began = time.monotonic()
    with pytest.raises(StoreError, match=says) as raised:
        Files(bucket.root, endpoint_url=wire.address).write("a", b"x")
    assert "s3://neurons/store/a: cannot be written" in str(raised.value)
    assert time.monotonic() - began < 3


def test_a_web_server_that_is_no_s3_is_told_at_once(bucket: Any, wire: Wire) -> None:
    page = b"<html><p>Hello"
    head = f"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: {len(page)}\r\n\r\n"
    wire.answers = [head.encode() + page] * 4
    with pytest.raises(StoreError, match=r"store/a: cannot be written: "):
        Files(bucket.root, endpoint_url=wire.address).write("a", b"x")


@pytest.mark.usefixtures("impatient")
def test_an_error_is_no_absence(bucket: Any, wire: Wire) -> None:
    files = Files(bucket.root, endpoint_url=wire.address)
    Files(bucket.root, endpoint_url=bucket.endpoint_url).write("a", b"x")
    wire.answers = [refusal("403 Forbidden", "")]
    with pytest.raises(StoreError, match="cannot be looked for: access is denied"):
        files.exists("a")
    assert files.exists("a")
    assert not files.exists("b")


def test_a_server_is_given_up_when_the_wait_is_over(s3_endpoint: str) -> None:
    del s3_endpoint  # sets the credentials
    before = wait_for_s3(1.5)
    began = time.monotonic()
    try:
        with pytest.raises(
            StoreError, match=r"does not answer; check the endpoint .*NEUROSCRIBE_S3_WAIT_MINUTES"
        ):
            Files("s3://neurons/store", endpoint_url="http://127.0.0.1:9").read("a")
    finally:
        wait_for_s3(before)
    assert 1.5 <= time.monotonic() - began < 15


def test_parts_of_a_file_that_is_replaced_between_them_are_of_one_version(
    any_bucket: Any, tmp_path: Path
) -> None:
    old, new = ({"x": torch.full((1000, 100), value)} for value in (1.0, 2.0))
    for root, place in ((any_bucket.root, {"endpoint_url": any_bucket.endpoint_url}), (str(tmp_path), {})):
        files = Files(root, **place)
        store = SafetensorFiles(root, **place)
        store.write("a", old, {"of": "old"})
        versions: dict[str, str] = {}
        files.read_ranges([("a", 0, 100)], versions)
        store.write("a", new, {"of": "new"})
        with pytest.raises(ReplacedError):
            files.read_ranges([("a", 100, 200)], versions)
        with closing(_Replacing(store, [old, new])):
            for _ in range(30):
                [(tensors, metadata)] = store.read_parts(["a"], {"x": (slice(990, 1000),)})
                assert set(tensors["x"].flatten().tolist()) == {1.0 if metadata["of"] == "old" else 2.0}


class _Replacing:
    """Writes one file after the other in the same place, until it is closed."""

    def __init__(self, store: SafetensorFiles, contents: list[dict[str, torch.Tensor]]) -> None:
        self._store, self._contents, self._over = store, contents, threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._thread.start()

    def _write(self) -> None:
        while not self._over.wait(0.05):
            for tensors, of in zip(self._contents, ("old", "new"), strict=True):
                self._store.write("a", tensors, {"of": of})

    def close(self) -> None:
        self._over.set()
        self._thread.join()


def test_a_file_that_is_replaced_again_and_again_is_given_up() -> None:
    times: list[int] = []

    def read() -> None:
        times.append(1)
        raise ReplacedError("replaced")

    with pytest.raises(ReplacedError):
        unreplaced(read)
    assert len(times) == 6


def test_a_stamp_is_read_by_an_open_file_that_is_replaced_meanwhile(any_bucket: Any) -> None:
    files = Files(any_bucket.root, endpoint_url=any_bucket.endpoint_url)
    files.write("a", b"old" * 100)
    reads: list[bytes] = []

    def read(file: Any) -> bytes:
        if not reads:
            files.write("a", b"new" * 100)
        reads.append(file.read())
        return reads[-1]

    assert files.read_by("a", read) == b"new" * 100
    assert len(reads) == 1  # the first attempt broke off
