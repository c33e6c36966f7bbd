"""Copies in S3, over real HTTP to moto's server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer

from scaler.errors import ConfigurationError
from scaler.storage.content import plain
from scaler.storage.outputs import Adopted, Mark, Restore, Spill
from scaler.storage.s3 import PART_BYTES, S3
from scaler.storage.settings import StorageSettings

ANN, BEN = b"A" * 16, b"B" * 16
X, Y = b"x" * 16, b"y" * 16
URL = "s3://bucket/some/prefix"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """An empty bucket, where boto3 finds it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    for path in paths(client):
        client.delete_object(Bucket="bucket", Key=path)
    client.delete_bucket(Bucket="bucket")
    client.close()


def paths(client: object) -> list[str]:
    return [entry["Key"] for entry in client.list_objects_v2(Bucket="bucket").get("Contents", [])]  # type: ignore[attr-defined]


def read(s3: S3, key: int, size: int) -> bytes:
    room = plain(size)
    s3.read(Restore(key, size), room)
    return bytes(room.content().view)


@pytest.mark.parametrize("size", [0, 5, PART_BYTES, 2 * PART_BYTES + 1])
def test_copy_is_the_same(bucket: object, size: int) -> None:
    s3 = S3(URL)
    content = bytes(range(251)) * (size // 251) + bytes(size % 251)
    s3.write(Spill(7, memoryview(content), X, ()))
    assert paths(bucket) == [f"some/prefix/{X.hex()}/7/content"]
    assert read(s3, 7, size) == content
    s3.delete(7)
    assert paths(bucket) == []
    s3.close()


def test_nothing_is_left_by_a_server_that_is_not_durable(bucket: object) -> None:
    killed = S3(URL)
    killed.write(Spill(1, memoryview(b"abc"), X, (ANN,)))
    bucket.put_object(Bucket="bucket", Key="some/prefix/readme", Body=b"not ours")  # type: ignore[attr-defined]
    s3 = S3(URL)
    assert s3.prepare() == []
    s3.write(Spill(1, memoryview(b"abc"), X, (ANN,)))
    s3.close()
    assert paths(bucket) == ["some/prefix/readme"]


def test_durable_copies_are_found_again_with_their_owners(bucket: object) -> None:
    before = S3(URL, durable=True)
    before.write(Spill(1, memoryview(b"abc"), X, (ANN,)))
    before.write(Spill(2, memoryview(b"defg"), Y, (ANN, BEN)))
    before.mark(Mark(1, BEN, True))
    before.mark(Mark(2, ANN, False))
    before.close()
    after = S3(URL, durable=True)
    assert after.prepare() == [Adopted(1, X, 3, (ANN, BEN)), Adopted(2, Y, 4, (BEN,))]
    assert read(after, 1, 3) == b"abc"
    after.delete(1)
    assert [one.key for one in S3(URL, durable=True).prepare()] == [2]


def test_what_a_crash_left_half_done_is_deleted(bucket: object) -> None:
    for path in (f"{X.hex()}/1/content", f"{Y.hex()}/2/owner-{ANN.hex()}"):
        bucket.put_object(Bucket="bucket", Key=f"some/prefix/{path}", Body=b"")  # type: ignore[attr-defined]
    assert S3(URL, durable=True).prepare() == [] and paths(bucket) == []


def test_failure_is_explained_and_leaves_nothing(bucket: object) -> None:
    s3 = S3("s3://elsewhere")
    with pytest.raises(Exception, match="NoSuchBucket") as raised:
        s3.write(Spill(1, memoryview(b"abc"), X, ()))
    assert s3.explain(raised.value).startswith("s3://elsewhere: ")
    with pytest.raises(ConfigurationError, match=r"cannot use s3://elsewhere: .*NoSuchBucket"):
        s3.prepare()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (StorageSettings(spill_url="http://x/y"), "s3://bucket/prefix"),
        (StorageSettings(spill_url="s3://"), "s3://bucket/prefix"),
        (StorageSettings(spill_url=URL, spill_directory="/tmp"), "not to both"),
        (StorageSettings(durable=True), "--durable needs"),
    ],
)
def test_settings_that_make_no_sense(settings: StorageSettings, word: str) -> None:
    with pytest.raises(ConfigurationError, match=word):
        settings.copies()


def test_without_the_extra_it_is_named() -> None:
    code = """
import sys
sys.modules["boto3"] = None
from scaler.errors import ExtraMissingError
from scaler.storage.s3 import S3
try:
    S3("s3://bucket")
except ExtraMissingError as error:
    assert "opengris-scaler[s3]" in str(error)
    sys.exit(0)
sys.exit(1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
