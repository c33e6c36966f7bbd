"""The client's objects in the object storage: what it put and still uses, and results that are there for it."""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from typing_extensions import Buffer

from scaler.buffers import size_of
from scaler.client.fingerprints import Fingerprints, fingerprint, is_same
from scaler.client.kept_content import KeptContent, each_id
from scaler.client.lineage import Lineage
from scaler.client.releases import Releases
from scaler.client.state import Group
from scaler.errors import ObjectLostError, ObjectMissingError, ObjectStorageError, ObjectStorageFullError, ScalerError
from scaler.ids import Address, content_object_id, new_identity
from scaler.security import Security
from scaler.storage.client import StorageClient
from scaler.storage.content import SHARED_BYTES
from scaler.storage.segments import Written

if TYPE_CHECKING:
    from scaler.client.service import ClientService

log = logging.getLogger("scaler")


@dataclass(slots=True, eq=False)
class _Upload:
    """An object that is put for the first time."""

    over: threading.Event = field(default_factory=threading.Event)
    failed: bool = False


class ClientObjects:
    """Puts, counts, fetches and frees them. Safe for use from several threads."""

    def __init__(
        self, service: ClientService, address: Address | None, timeout_seconds: float, security: Security
    ) -> None:
        self.uses: Counter[bytes] = Counter()
        """How often each object is used that this client put."""
        self.kept = KeptContent(service.lock)
        self.lineage = Lineage(service, self)
        self._fingerprints = Fingerprints(service.lock)
        self.names: dict[bytes, str] = {}
        """What people call objects, of those that have a name."""
        self.put_bytes = 0
        """What went into the object storage."""
        self.fetched_bytes = 0
        """What was read from there."""
        self._service = service
        self._lock = service.lock
        self._address = address
        self._timeout_seconds = timeout_seconds
        self._security = security
        self._process = os.getpid()
        self._storage: StorageClient | None = None
        self._releases = Releases(lambda names: self._client().release(names, service.identity))
        self._uploads: dict[bytes, _Upload] = {}
        self._inputs: dict[bytes, Group] = {}
        """Stored results that tasks of their graphs may still take as input."""

    def close(self) -> None:
        self._releases.close()
        if self._storage is not None and os.getpid() == self._process:
            self._storage.close()

    # ---- what this client put

    def put(self, content: list[Buffer], wait: bool = True) -> bytes:
        """Put bytes into the object storage, once more counted for this client; returns their id.

        Without ``wait`` it may come there later: where it can be read from this client's memory meanwhile. The same bytes are
        there once. Small objects are named by their bytes; in shared memory naming a large one would cost more than writing it,
        so it is compared to the one it may be the same as.
        """
        if size_of(content) < SHARED_BYTES or not self._client().shares():
            object_id = content_object_id(*content)
            self._use_or_put(object_id, content)
            return object_id
        print_of_it = fingerprint(content)
        object_id = self._same_as(print_of_it, content) or new_identity()
        self._use_or_put(object_id, content, wait)
        self._fingerprints.add(print_of_it, object_id)
        return object_id

    def _same_as(self, print_of_it: bytes, content: list[Buffer]) -> bytes | None:
        """What this client has put and still uses, if that has the same bytes."""
        object_id = self._fingerprints.find(print_of_it)
        kept = self.kept.get(object_id) if object_id is not None and object_id in self.uses else None
        return object_id if kept is not None and len(kept) == 1 and is_same(content, kept[0]) else None

    def _use_or_put(self, object_id: bytes, content: Sequence[Buffer], wait: bool = True) -> None:
        """Count one use more. Who counts the first one puts it, and the others wait for that."""
        while True:
            with self._lock:
                self.uses[object_id] += 1
                upload = self._uploads.get(object_id)
                first = upload is None and self.uses[object_id] == 1
                if first:
                    self._uploads[object_id] = upload = _Upload()
            if first:
                assert upload is not None
                self._put_first(object_id, content, upload, wait)
                return
            if upload is None:
                return
            upload.over.wait()
            if not upload.failed:
                return

    def _put_first(self, object_id: bytes, content: Sequence[Buffer], upload: _Upload, wait: bool) -> None:
        try:
            self.put_as(object_id, content, wait)
        except BaseException:
            upload.failed = True
            with self._lock:
                self.uses.pop(object_id, None)
            raise
        finally:
            with self._lock:
                del self._uploads[object_id]
            upload.over.set()

    def put_as(self, object_id: bytes, content: Sequence[Buffer], wait: bool = True) -> None:
        """Put an object under this id, and keep its content as far as that can be."""
        shared = False

        def keep(written: Written) -> None:
            nonlocal shared
            shared = True
            self.kept.keep_shared(object_id, written)

        # One that the user has named may be a host's own, and the center be asked before it hears of the object.
        tell = None if wait or self._address is not None else self._put_once_more
        self._releases.take_back(object_id)
        try:
            self._client().put(object_id, content, self._service.identity, keep, tell)
        except ObjectStorageFullError:
            # What was freed may have been on its way, and arguments of calls that have ended are there only for calls to come.
            self._releases.flush()
            self._free(self._service.shared.let_go())
            self._client().put(object_id, content, self._service.identity, keep)
        self.put_bytes += size_of(content)
        if not shared:
            self.kept.keep(object_id, content)

    def _put_once_more(self, object_id: bytes, error: ObjectStorageError) -> None:
        """After a put that was not waited for failed. Where this one fails too, a task that misses the object has it put again,
        and is told why that cannot be."""
        content = self.kept.get(object_id)
        if content is not None and object_id in self.uses:
            try:
                self.put_as(object_id, content)
            except ScalerError as again:
                log.debug("object %s is not stored: %s, then %s", object_id.hex(), error, again)

    def use(self, object_id: bytes) -> None:
        """One use more of an object this client put, and still uses."""
        with self._lock:
            self.uses[object_id] += 1

    def drop(self, object_ids: Iterable[bytes]) -> None:
        """One use less of each of these objects this client put."""
        for object_id in self._unused(object_ids):
            self.release(object_id)

    def _unused(self, object_ids: Iterable[bytes]) -> Iterator[bytes]:
        """One use less of each of these; those that have none any more."""
        for object_id in object_ids:
            with self._lock:
                self.uses[object_id] -= 1
                if self.uses[object_id] > 0:
                    continue
                self.uses.pop(object_id, None)
            yield object_id

    def _free(self, object_ids: Iterable[bytes]) -> None:
        """As drop(), and the object storage has heard of it."""
        freed = [object_id for object_id in self._unused(object_ids) if self._forget(object_id)]
        if freed:
            self._client().release(freed, self._service.identity)

    # ---- results, and whatever has an id

    def read(self, object_id: bytes, place: bytes = b"") -> memoryview:
        """Fetch an object that stays where it is; one that was lost is there again then, if that can be."""
        try:
            content = self._client().get(object_id, existed=True, place=place)
        except ObjectMissingError as error:
            self.lineage.restore(object_id, error)
            content = self._client().get(object_id, existed=True)
        self.fetched_bytes += len(content)
        return content

    def take(self, object_id: bytes, place: bytes = b"") -> bytes | memoryview:
        """Fetch a result and free it. One that was lost, or freed because we were silent for too long, is made again."""
        try:
            content: bytes | memoryview = self._client().get(object_id, existed=True, place=place)
        except ObjectLostError as error:
            try:
                content = self.lineage.take_again(object_id, error)
            except BaseException:
                self.lineage.forget(object_id)
                raise
        self.fetched_bytes += len(content)
        self.release(object_id)
        return content

    def has(self, object_id: bytes) -> bool:
        """Whether the object storage has it. Raises ObjectLostError when it was freed."""
        try:
            self._client().get(object_id, existed=True)
        except ObjectMissingError:
            return False
        return True

    def is_input_of(self, object_id: bytes, group: Group) -> None:
        """Tasks of this graph may take a result as input: it stays until nothing of the graph will run any more."""
        with self._lock:
            self._inputs[object_id] = group

    def _is_input(self, object_id: bytes) -> bool:
        """Whether a result has to stay for others of its graph; it is freed with the graph then."""
        with self._lock:
            group = self._inputs.pop(object_id, None)
            if group is None or group.closed:
                return False
            group.results.append(object_id)
            return True

    def release(self, object_id: bytes) -> None:
        """Free what nobody wants."""
        if not self._forget(object_id):
            return
        if self._service.closed is None and self._storage is not None:
            self._releases.add(object_id)

    def _forget(self, object_id: bytes) -> bool:
        """Whether it is to be freed now."""
        self.lineage.forget(object_id)
        self.kept.unused(object_id)
        self._fingerprints.forget(object_id)
        self.names.pop(object_id, None)
        return not self._is_input(object_id)

    def release_group(self, group: Group) -> None:
        """Nothing of a graph will run any more: free what its tasks took as arguments and inputs."""
        with self._lock:
            results, group.results = group.results, []
        group.tasks = []  # They refer to their group.
        for together in group.arguments:
            self.drop(each_id(together))
        for object_id in results:
            self.release(object_id)

    # ---- what was lost

    def put_again(self, object_ids: bytes) -> None:
        """One use more of each of these (one after the other), which are put again as far as they were freed.

        Raises ObjectLostError, and uses none of them, where the content of one was not kept.
        """
        done: list[bytes] = []
        try:
            for object_id in each_id(object_ids):
                self._use_or_put_again(object_id)
                done.append(object_id)
        except ScalerError:
            self.drop(done)
            raise

    def _use_or_put_again(self, object_id: bytes) -> None:
        content = self.kept.get(object_id)
        if content is not None:
            self._use_or_put(object_id, content)
        elif object_id in self.uses:
            self.use(object_id)
        else:
            why = self.why_not_kept(object_id)
            raise ObjectLostError(f"object {object_id.hex()}, which its arguments are in, is gone: {why}")

    def content(self, object_id: bytes) -> list[Buffer] | None:
        """What this client put under this id and keeps, once it has been put for the first time."""
        upload = self._uploads.get(object_id)
        if upload is not None:
            upload.over.wait()
        return self.kept.get(object_id)

    def why_not_kept(self, object_id: bytes) -> str:
        """For people."""
        if object_id not in self.uses and not self.kept.holds(object_id):
            return "it was freed, or put by another client, or its client has left"
        return f"of what a client puts, the last {self.kept.limit >> 20} MiB are kept, and it is not among that"

    def label(self, object_id: bytes) -> str:
        """For people, with the client's name."""
        name = self.names.get(object_id)
        mine = self._service.label
        return f"{mine} called it {name!r}" if name else f"{mine} was asked for it"

    @property
    def storages(self) -> int:
        """How many object storages there have been, one after the other."""
        return 0 if self._storage is None else self._storage.instances

    def _client(self) -> StorageClient:
        self._service.check_open()
        with self._lock:
            if self._storage is None:
                settings = self._service.settings
                assert settings is not None
                address = self._address or Address.parse(settings.object_storage_address)
                self._storage = StorageClient(
                    address, new_identity(), self._service.label, self._security, self._timeout_seconds
                )
            return self._storage
