"""Which large objects of a client may have the same bytes: known from samples, and sure only when all bytes are compared."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from hashlib import blake2b

from typing_extensions import Buffer

from scaler.buffers import ALIGNMENT
from scaler.storage.mapping import same

SAMPLE_BYTES = 256
SAMPLES = 16
"""How much is looked at, at the begin of each of so many parts of equal size, where the first large buffer begins, and at the
end."""


class Fingerprints:
    """Object ids by fingerprint, of each the one put last. Safe for use from several threads."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock
        self._ids: dict[bytes, bytes] = {}
        self._prints: dict[bytes, bytes] = {}

    def find(self, fingerprint: bytes) -> bytes | None:
        """The object that had this fingerprint last."""
        with self._lock:
            return self._ids.get(fingerprint)

    def add(self, fingerprint: bytes, object_id: bytes) -> None:
        """This object has this fingerprint."""
        with self._lock:
            self._ids[fingerprint] = object_id
            self._prints[object_id] = fingerprint

    def forget(self, object_id: bytes) -> None:
        """It is freed."""
        with self._lock:
            fingerprint = self._prints.pop(object_id, b"")
            if self._ids.get(fingerprint) == object_id:
                del self._ids[fingerprint]


def fingerprint(content: Sequence[Buffer]) -> bytes:
    """Of the size and some samples of an object, in parts that follow each other."""
    views = [memoryview(part).cast("B") for part in content]
    total = sum(view.nbytes for view in views)
    digest = blake2b(total.to_bytes(8, "little"), digest_size=16)
    wanted = [total * number // SAMPLES for number in range(SAMPLES)]
    wanted = sorted({*wanted, min(ALIGNMENT, total), max(total - SAMPLE_BYTES, 0)})
    begin = 0
    for view in views:
        while wanted and wanted[0] < begin + view.nbytes:
            place = wanted.pop(0) - begin
            digest.update(view[place : place + SAMPLE_BYTES])
        begin += view.nbytes
    return digest.digest()


def is_same(content: Sequence[Buffer], stored: Buffer) -> bool:
    """Whether these parts, one after the other, are all that is stored."""
    whole, begin = memoryview(stored).cast("B"), 0
    for part in content:
        view = memoryview(part).cast("B")
        if not same(view, whole[begin : begin + view.nbytes]):
            return False
        begin += view.nbytes
    return begin == whole.nbytes
