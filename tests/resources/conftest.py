import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from resources.store.outages import wait_for_s3


@dataclass(frozen=True)
class Bucket:
    """An S3 server on this machine with one empty bucket."""

    endpoint_url: str
    root: str
    client: Any

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket="neurons")
        return sorted(entry["Key"] for page in pages for entry in page.get("Contents", []))


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    before = {name: os.environ.get(name) for name in keys}
    os.environ.update(keys)
    yield f"http://{host}:{port}"
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str) -> Iterator[Bucket]:
    yield from _emptied_bucket(s3_endpoint)


@pytest.fixture(params=["moto", "other"])
def any_bucket(request: pytest.FixtureRequest, s3_endpoint: str) -> Iterator[Bucket]:
    """A bucket of moto and, where TEST_S3_ENDPOINT names one, of another server (key and secret: test)."""
    endpoint = s3_endpoint if request.param == "moto" else os.environ.get("TEST_S3_ENDPOINT", "")
    if not endpoint:
        pytest.skip("TEST_S3_ENDPOINT names no other S3 server")
    yield from _emptied_bucket(endpoint)


def _emptied_bucket(endpoint: str) -> Iterator[Bucket]:
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket="neurons")
    bucket = Bucket(endpoint, "s3://neurons/store", client)
    yield bucket
    for upload in client.list_multipart_uploads(Bucket="neurons").get("Uploads", []):
        client.abort_multipart_upload(Bucket="neurons", Key=upload["Key"], UploadId=upload["UploadId"])
    for key in bucket.keys():  # noqa: SIM118 - it is no mapping
        client.delete_object(Bucket="neurons", Key=key)
    client.delete_bucket(Bucket="neurons")
    client.close()


@pytest.fixture
def impatient() -> Iterator[None]:
    """Wait for no server that is down."""
    before = wait_for_s3(0)
    yield
    wait_for_s3(before)
