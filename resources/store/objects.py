"""What is asked of S3, request by request, where the file system made of it would ask more or promise less.

A read is of one version of an object, also in parts. Every method raises what the client raises.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

from upath import UPath

from resources.store.outages import ReplacedError, answered_with

T = TypeVar("T")
_MISSED = 412
"""Status of a request whose condition did not hold."""


@dataclass(frozen=True)
class Piece:
    """Bytes of an object and the version that they are of."""

    data: bytes
    version: str
    age_s: float | None = None
    """Seconds since it was written, by the server's own clock; None where it does not say."""


@dataclass(frozen=True)
class Upload:
    """An upload in parts that was begun and not ended."""

    key: str
    name: str
    begun: datetime
    size: int
    """Bytes that have been sent of it."""


def is_there(path: UPath) -> bool:
    """Tell whether an object is there; unlike the file system's answer, an error is no absence."""
    try:
        _head(path)
    except FileNotFoundError:
        return False
    return True


def whole(path: UPath) -> bytes:
    """Return an object's bytes, all of one version; raises ReplacedError where it was replaced meanwhile."""
    before = _head(path)
    if before["ContentLength"] <= _client(path).default_block_size:
        return _client(path).cat_file(path.path, max_concurrency=1)  # one request
    data: bytes = _client(path).cat_file(path.path)
    if _head(path)["ETag"] != before["ETag"]:
        raise ReplacedError(f"{path} was replaced while it was read")
    return data


def pieces(ranges: Sequence[tuple[UPath, int, int]]) -> list[Piece | Exception]:
    """Return the bytes from start to stop of each object; the requests are under way together."""

    async def together() -> list[Any]:
        return await asyncio.gather(*(_piece(*each) for each in ranges), return_exceptions=True)

    return _done(ranges[0][0], together()) if ranges else []


def found(path: UPath) -> Piece | None:
    """Return a small object with its version and age, None if it is not there."""
    try:
        return _done(path, _got(path))
    except FileNotFoundError:
        return None


def put(path: UPath, data: bytes, *, absent: bool = False, version: str | None = None) -> str | None:
    """Write an object on a condition: that it is `absent`, or that its version is still this one.

    Returns the new version, None where the condition does not hold.
    """
    bucket, key, _ = _client(path).split_path(path.path)
    conditions = [{"IfNoneMatch": "*"}] if absent else [{}] if version is None else _matches(version)
    for condition in conditions:
        try:
            answer = _client(path).call_s3("put_object", Bucket=bucket, Key=key, Body=data, **condition)
            return str(answer["ETag"])
        except OSError as error:
            # A version of an object that is no longer there is answered by 404.
            gone = version is not None and isinstance(error, FileNotFoundError)
            if not gone and answered_with(error)[0] != _MISSED:
                raise
    return None


def _matches(version: str) -> list[dict[str, str]]:
    """Return the condition that an object is of a version, in both ways in which servers read it."""
    return [{"IfMatch": version}, {"IfMatch": version.strip('"')}]  # Ceph's wants no quotation marks


def uploads(root: UPath) -> list[Upload]:
    """Return the uploads in parts below a root that were begun and not ended."""
    bucket, prefix, _ = _client(root).split_path(root.path)
    below = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
    begun: list[Upload] = []
    after: dict[str, str] = {}
    while True:
        page = _client(root).call_s3("list_multipart_uploads", **below, **after)
        for each in page.get("Uploads", []):
            key, name = each["Key"], each["UploadId"]
            begun.append(Upload(key, name, each["Initiated"], _size_sent(root, bucket, key, name)))
        if not page.get("IsTruncated"):
            return begun
        after = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


def _size_sent(root: UPath, bucket: str, key: str, name: str) -> int:
    # The first thousand parts, of 50 MB and more each.
    parts = _client(root).call_s3("list_parts", Bucket=bucket, Key=key, UploadId=name)
    return sum(int(part["Size"]) for part in parts.get("Parts", []))


def abandon(root: UPath, upload: Upload) -> None:
    """End an upload without making an object of it, and free what it holds."""
    bucket, _, _ = _client(root).split_path(root.path)
    _client(root).call_s3("abort_multipart_upload", Bucket=bucket, Key=upload.key, UploadId=upload.name)


def _client(path: UPath) -> Any:
    """Return the file system of a path on S3, which has more methods than others."""
    return path.fs


def _done(path: UPath, work: Coroutine[Any, Any, T]) -> T:
    """Return what work brings that runs beside the client's own, in its loop."""
    return asyncio.run_coroutine_threadsafe(work, _client(path).loop).result()


def _head(path: UPath) -> Any:
    bucket, key, _ = _client(path).split_path(path.path)
    return _client(path).call_s3("head_object", Bucket=bucket, Key=key)


async def _piece(path: UPath, start: int, stop: int) -> Piece:
    try:
        return await _got(path, Range=f"bytes={start}-{stop - 1}")
    except OSError as error:
        if answered_with(error)[0] == 416:  # the object ends before
            return Piece(b"", "")
        raise


async def _got(path: UPath, **part: str) -> Piece:
    bucket, key, _ = _client(path).split_path(path.path)
    answer = await _client(path)._call_s3("get_object", Bucket=bucket, Key=key, **part)
    try:
        data = await answer["Body"].read()
    finally:
        answer["Body"].close()
    return Piece(data, str(answer["ETag"]), _age(answer))


def _age(answer: Any) -> float | None:
    """Return how many seconds ago a server wrote an object when it answered; both times are its own."""
    now = answer["ResponseMetadata"]["HTTPHeaders"].get("date")
    try:
        return (parsedate_to_datetime(now) - answer["LastModified"]).total_seconds()
    except (TypeError, ValueError, KeyError):
        return None
