import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest


@dataclass(frozen=True)
class Bucket:
    """An S3 server on this machine with one empty bucket."""

    endpoint_url: str
    root: str
    client: object

    def keys(self) -> list[str]:
        """Return the keys of all objects."""
        listed = self.client.list_objects_v2(Bucket="neurons")  # pyright: ignore[reportAttributeAccessIssue]
        return sorted(entry["Key"] for entry in listed.get("Contents", []))


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
    import boto3

    client = boto3.client("s3", endpoint_url=s3_endpoint)
    client.create_bucket(Bucket="neurons")
    yield Bucket(s3_endpoint, "s3://neurons/store", client)
    for entry in client.list_objects_v2(Bucket="neurons").get("Contents", []):
        client.delete_object(Bucket="neurons", Key=entry["Key"])
    client.delete_bucket(Bucket="neurons")
    client.close()
