"""Copies of objects in S3, or whatever speaks its protocol: for machines without a disk, and to outlive the server."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass, field
from typing import Any

from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.ids import IDENTITY_BYTES, OBJECT_ID_BYTES
from scaler.storage.content import Room
from scaler.storage.outputs import Adopted, Mark, Restore, Spill

PART_BYTES = 8 << 20
"""So much is written or read by one request, or turn."""
_CONTENT, _OWNER = "content", "owner-"


@dataclass(slots=True)
class _Copy:
    """What was found in the bucket of one copy."""

    key: int
    name: bytes
    size: int | None = None
    owners: list[bytes] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


class S3:
    """Copies under ``s3://bucket/prefix``, which has to be this storage's alone. All methods block; any thread may call.

    A copy with the key 7 of the object ab… is ``prefix/ab…/7/content``, and for each owner cd… there is an empty
    ``prefix/ab…/7/owner-cd…``. They outlive the server if it is ``durable``.

    Raises ExtraMissingError without boto3, ConfigurationError for another URL.
    """

    threads = 4

    def __init__(self, url: str, durable: bool = False) -> None:
        scheme, _, rest = url.partition("://")
        self._bucket, _, prefix = rest.partition("/")
        if scheme != "s3" or not self._bucket:
            raise ConfigurationError(f"cannot spill to {url!r}: write s3://bucket/prefix")
        try:
            import boto3
            from boto3.s3.transfer import TransferConfig
        except ImportError:
            text = f"spilling to {url} needs boto3: pip install 'opengris-scaler[s3]'"
            raise ExtraMissingError(text) from None
        self._url = url
        self._durable = self.finishes = durable
        self._prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._places: dict[int, str] = {}
        self._s3: Any = boto3.client("s3")
        self._transfer = TransferConfig(
            multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=2
        )

    def prepare(self) -> list[Adopted]:
        """Find the complete copies that an earlier server left, if they should outlive it; all else is deleted.

        Raises ConfigurationError where the bucket cannot be used.
        """
        try:
            return self._prepare()
        except self._errors() as error:
            raise ConfigurationError(f"cannot use {self._url}: {error}") from None

    def _prepare(self) -> list[Adopted]:
        copies: dict[str, _Copy] = {}
        for path, size in self._list(self._prefix):
            name, key, part = [*path[len(self._prefix) :].split("/"), "", ""][:3]
            if not (len(name) == 2 * OBJECT_ID_BYTES and key.isdigit()):
                continue  # not ours
            copy = copies.setdefault(f"{self._prefix}{name}/{key}/", _Copy(int(key), bytes.fromhex(name)))
            copy.paths.append(path)
            if part == _CONTENT:
                copy.size = size
            elif len(part) == len(_OWNER) + 2 * IDENTITY_BYTES:
                copy.owners.append(bytes.fromhex(part[len(_OWNER) :]))
        found: dict[bytes, Adopted] = {}
        for place, copy in copies.items():
            complete = copy.size is not None and copy.owners
            if self._durable and complete and copy.name not in found and copy.key not in self._places:
                self._places[copy.key] = place
                found[copy.name] = Adopted(copy.key, copy.name, copy.size or 0, tuple(copy.owners))
            else:
                self._delete(copy.paths)
        return list(found.values())

    def write(self, spill: Spill) -> None:
        """Make a copy. The owners come first: what is complete has some."""
        place = self._places[spill.key] = f"{self._prefix}{spill.name.hex()}/{spill.key}/"
        try:
            for owner in spill.owners:
                self._s3.put_object(Bucket=self._bucket, Key=place + _OWNER + owner.hex(), Body=b"")
            body = io.BufferedReader(_Reader(spill.content), 1 << 20)
            self._s3.upload_fileobj(body, self._bucket, place + _CONTENT, Config=self._transfer)
        except BaseException:
            with contextlib.suppress(Exception):
                self.delete(spill.key)
            raise

    def mark(self, mark: Mark) -> None:
        """Record that somebody owns an object, or does not any more. A copy that could not be written is passed over."""
        place = self._places.get(mark.key)
        if place is not None and mark.owns:
            self._s3.put_object(Bucket=self._bucket, Key=place + _OWNER + mark.owner.hex(), Body=b"")
        elif place is not None:
            self._delete([place + _OWNER + mark.owner.hex()])

    def read(self, restore: Restore, room: Room) -> None:
        """Fill room of its size with a copy."""
        answer = self._s3.get_object(Bucket=self._bucket, Key=self._places[restore.key] + _CONTENT)
        if answer["ContentLength"] != restore.size:
            raise OSError(f"{answer['ContentLength']} bytes instead of {restore.size}")
        done = 0
        while part := answer["Body"].read(PART_BYTES):
            room.write(done, part)
            done += len(part)

    def delete(self, key: int) -> None:
        """Forget a copy: its owners first, so that what is left half deleted belongs to nobody."""
        paths = [path for path, _ in self._list(self._places.pop(key))]
        self._delete(sorted(paths, reverse=True))

    def _delete(self, paths: list[str]) -> None:
        for start in range(0, len(paths), 1000):
            names = [{"Key": path} for path in paths[start : start + 1000]]
            self._s3.delete_objects(Bucket=self._bucket, Delete={"Objects": names, "Quiet": True})

    def explain(self, error: Exception) -> str:
        """What an error means to whoever runs the storage."""
        return f"{self._url}: {error}"

    def close(self) -> None:
        """Leave nothing that should not outlive the server."""
        if not self._durable:
            with contextlib.suppress(*self._errors()):
                self._delete([path for place in self._places.values() for path, _ in self._list(place)])
        self._s3.close()

    def _list(self, prefix: str) -> list[tuple[str, int]]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [(entry["Key"], entry["Size"]) for page in pages for entry in page.get("Contents", ())]

    def _errors(self) -> tuple[type[Exception], ...]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        return BotoCoreError, ClientError, Boto3Error


class _Reader(io.RawIOBase):
    """A file over bytes in memory that copies none of them."""

    def __init__(self, content: memoryview) -> None:
        self._content = content
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + (0, self._at, self._content.nbytes)[whence]
        return self._at

    def readinto(self, buffer: Any) -> int:
        part = self._content[self._at : self._at + len(buffer)]
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)
