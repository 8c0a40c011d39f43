"""Large objects and many: whole or not there, listed to the last, and seen as soon as they are written."""

import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from resources.store import objects
from resources.store.files import Files

_MB = 2**20


def test_an_object_in_parts_is_not_there_after_a_kill_and_its_upload_can_be_abandoned(
    any_bucket: Any,
) -> None:
    upload = any_bucket.client.create_multipart_upload(Bucket="neurons", Key="store/tiny/large")
    any_bucket.client.upload_part(
        Bucket="neurons",
        Key="store/tiny/large",
        UploadId=upload["UploadId"],
        PartNumber=1,
        Body=b"x" * 5 * _MB,
    )
    other = any_bucket.client.create_multipart_upload(Bucket="neurons", Key="elsewhere/large")
    files = Files(any_bucket.root, endpoint_url=any_bucket.endpoint_url)
    assert not files.exists("tiny/large")
    assert files.entries() == []
    [begun] = objects.uploads(files.path(""))
    assert (begun.key, begun.size) == ("store/tiny/large", 5 * _MB)
    objects.abandon(files.path(""), begun)
    assert objects.uploads(files.path("")) == []
    any_bucket.client.abort_multipart_upload(
        Bucket="neurons", Key="elsewhere/large", UploadId=other["UploadId"]
    )


def test_a_writer_killed_within_a_large_object_leaves_the_old_one(any_bucket: Any) -> None:
    files = Files(any_bucket.root, endpoint_url=any_bucket.endpoint_url)
    files.write("large", b"old")
    code = (
        "import os, sys; from resources.store.files import Files\n"
        "from tests.resources.store.wires import Wire\n"
        "wire = Wire(int(sys.argv[2].rpartition(':')[2]))\n"
        "wire.on_sent = lambda sent: sent > 12 * 2**20 and os.kill(os.getpid(), 9)\n"
        "Files(sys.argv[1], endpoint_url=wire.address).write('large', bytes(20 * 2**20))\n"
    )
    command = [sys.executable, "-c", code, any_bucket.root, any_bucket.endpoint_url]
    assert subprocess.run(command, cwd=Path(__file__).parents[3]).returncode == -9
    assert files.read("large") == b"old"
    [begun] = objects.uploads(files.path(""))
    assert begun.key == "store/large"


def test_an_object_of_several_parts_comes_back_whole(any_bucket: Any) -> None:
    files = Files(any_bucket.root, endpoint_url=any_bucket.endpoint_url)
    data = bytes(range(256)) * (20 * _MB // 256)
    files.write("large", data)
    assert files.read("large") == data
    assert any_bucket.client.head_object(Bucket="neurons", Key="store/large")["ETag"].endswith('-3"')
    assert objects.uploads(files.path("")) == []


def test_a_listing_of_more_than_a_thousand_is_whole(bucket: Any) -> None:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for number in range(2100):
        backend.put_object("neurons", f"store/tiny/{number:04}", b"x")
    backend.put_object("neurons", "store/tiny2/beside", b"x")
    files = Files(bucket.root, endpoint_url=bucket.endpoint_url)
    assert files.names("tiny") == [f"{number:04}" for number in range(2100)]
    assert len(files.entries("tiny")) == 2100
    assert {entry.size for entry in files.entries("tiny")} == {1}
    files.remove_folder("tiny")
    assert bucket.keys() == ["store/tiny2/beside"]


def test_what_others_write_is_seen_at_once(any_bucket: Any) -> None:
    files = Files(any_bucket.root, endpoint_url=any_bucket.endpoint_url)
    files.write("tiny/a", b"a")
    assert (files.names("tiny"), files.exists("tiny/b")) == (["a"], False)
    any_bucket.client.put_object(Bucket="neurons", Key="store/tiny/b", Body=b"bb")
    assert (files.names("tiny"), files.exists("tiny/b"), files.read("tiny/b")) == (["a", "b"], True, b"bb")
    assert [(entry.path, entry.size) for entry in files.entries()] == [("tiny/a", 1), ("tiny/b", 2)]
    any_bucket.client.delete_object(Bucket="neurons", Key="store/tiny/a")
    assert (files.names("tiny"), files.exists("tiny/a")) == (["b"], False)
    assert max(entry.age_s for entry in files.entries()) < timedelta(minutes=2).total_seconds()
    assert files.entries(deep=False) == []
