"""A blocking way to put and get objects, for executors and for clients that have no event loop at hand."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import TypeVar

from typing_extensions import Buffer

from scaler.errors import (
    ClientClosedError,
    ConnectionLostError,
    ObjectMissingError,
    ObjectStorageError,
    RefusedError,
)
from scaler.ids import IDENTITY_BYTES, OBJECT_ID_BYTES, Address, new_identity
from scaler.liveness import notice_dead_machines, refuse_itself
from scaler.messages import (
    Release,
    Role,
    Statistics,
)
from scaler.security import Security, from_environment
from scaler.storage.link import Link, Tell, read_place
from scaler.storage.segments import Written
from scaler.wire.handshake import NONCE_BYTES, Dialer

HANDSHAKE_SECONDS = 10.0
BACK_OFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
MAX_IDLE_READERS = 4
_BUFFERS = (bytes, bytearray, memoryview)
_Answer = TypeVar("_Answer")


class StorageClient:
    """Puts objects into an object storage and gets them back. All methods block, and may be called from any thread.

    It connects when it is first used, and again when a connection is lost, for up to ``timeout_seconds`` before a
    call raises ConnectionLostError. Puts, releases and statistics share one connection, in order; each get under way
    has its own, so that one that waits for an object never keeps another thread from bringing that object. After a
    fork the child connects by itself, under an identity of its own.

    ``identity`` (16 bytes) names the connection; no other StorageClient may have it at the same time. Any call may
    raise RefusedError or ProtocolError when the peer does not let us in or is no object storage, and
    ClientClosedError after ``close``.
    """

    def __init__(
        self,
        address: Address,
        identity: bytes,
        name: str = "",
        security: Security | None = None,
        timeout_seconds: float = 60,
    ) -> None:
        """Without ``security`` it is as the environment says. Raises ConfigurationError for files that cannot be used."""
        self.address = address
        self._name = name
        self._security = security or from_environment()
        self._timeout = timeout_seconds
        self._links = Links(identity)

    def put(
        self,
        object_id: bytes,
        content: Buffer | Sequence[Buffer],
        owner: bytes,
        kept: Callable[[Written], None] | None = None,
        tell: Tell | None = None,
    ) -> bool:
        """Store an object for an owner (16 bytes each); returns whether the same id was there already.

        ``content`` is one contiguous buffer, or several that follow each other. Where the storage is of this host and
        user, a large object is written into shared memory; ``kept`` is given what was written there, which outlives the
        storage, and has to end it with ``spare_here``.

        With ``tell`` a put through shared memory does not wait for its answer, but for those of earlier ones where there are
        many (MOST_UNANSWERED), and returns False; its id has to be a new one. If the object is not stored after all, a later
        put calls ``tell``; where the connection is lost before the answer, nobody hears of it.

        Waits as long as the storage says that it has no room yet. Raises ObjectStorageFullError when it will have none,
        ObjectStorageError when it does not take it for another reason (too large, or the owner was released),
        ConnectionLostError, and ValueError for ids of another length.
        """
        _check_ids(owner, [object_id])
        given = content if isinstance(content, Sequence) and not isinstance(content, _BUFFERS) else [content]
        parts = [view for view in map(_flat, given) if view.nbytes]
        links = self._current()
        with links.writing:
            there = self._attempt(
                links, links.writers, links.identity, lambda link: link.put(object_id, parts, owner, kept, tell)
            )
            failures, links.failures = links.failures, []
        for told, name, error in failures:
            told(name, error)
        return there

    def get(self, object_id: bytes, existed: bool = False, place: bytes = b"") -> memoryview:
        """The bytes of an object, read-only; waits without limit for one that does not exist yet, unless it ``existed``.

        From its ``place``, which place_of() told, it is read without the storage, as long as it is there.
        Raises ObjectLostError when it was freed, ObjectMissingError when it existed and is lost, ObjectStorageError when it
        cannot be had for another reason, ConnectionLostError, and ValueError for an id that has not 16 bytes.
        """
        _check_ids(bytes(IDENTITY_BYTES), [object_id])
        links = self._current()
        if place and links.share is not False:
            found = read_place(place)
            if found is not None:
                return found
        try:
            return self._attempt(links, links.readers, new_identity(), lambda link: link.get(object_id, existed))
        except ObjectMissingError:
            why = "was restarted" if len(links.instances) > 1 else "does not have it any more"
            text = f"object {object_id.hex()} is lost: the object storage at {self.address} {why}"
            raise ObjectMissingError(text, object_id) from None

    def shares(self) -> bool:
        """Whether large objects travel through shared memory. Raises ConnectionLostError."""
        links = self._current()
        if links.share is None:
            with links.writing:
                self._attempt(links, links.writers, links.identity, lambda link: link.shares())
        return bool(links.share)

    @property
    def instances(self) -> int:
        """How many object storages have been at the address, as far as this process noticed: one more with each restart."""
        return len(self._current().instances)

    def release(self, object_ids: list[bytes], owner: bytes) -> None:
        """Say that an owner needs these objects no longer. Not answered: what a lost connection may have lost is said again
        before the next put, release or question for statistics.

        Raises ConnectionLostError, after which it is said later in the same way, and ValueError for ids that have not 16 bytes.
        """
        _check_ids(owner, object_ids)
        message = Release(b"".join(object_ids), owner)
        links = self._current()
        with links.writing:
            try:
                self._attempt(links, links.writers, links.identity, lambda link: link.release(message))
            except ConnectionLostError:
                links.unheard.append(message)
                raise

    def statistics(self) -> Statistics:
        """What the storage holds and did. Raises ConnectionLostError."""
        links = self._current()
        with links.writing:
            return self._attempt(links, links.writers, links.identity, lambda link: link.statistics())

    def close(self) -> None:
        """Close all connections. Calls under way in other threads, and later ones, raise ClientClosedError."""
        self._current().close()

    # ---- inside

    def _current(self) -> Links:
        """The connections of this process. Those of the process we were forked from stay its own."""
        links = self._links
        if links.pid != os.getpid():
            links.disown()
            self._links = links = Links(new_identity(), links.closed.is_set())
        return links

    def _attempt(self, links: Links, idle: list[Link], identity: bytes, act: Callable[[Link], _Answer]) -> _Answer:
        """Do ``act`` over a connection, again over a new one when it is lost."""
        outage: float | None = None
        for pause in chain(BACK_OFF_SECONDS, repeat(BACK_OFF_SECONDS[-1])):
            began = time.monotonic()
            link = None
            try:
                link = links.take(idle) or self._dial(links, identity, outage)
                return _use(links, idle, link, act)
            except OSError as error:
                links.raise_if_closed()
                now = time.monotonic()
                # A socket's own timeout, unlike one that TCP reports, has no number.
                silent = link is not None and isinstance(error, TimeoutError) and error.errno is None
                outage = began if silent else self._outage_since(outage, began, now, link is not None)
                if silent or now - outage >= self._timeout:
                    why = error.strerror or str(error)
                    text = f"cannot reach the object storage at {self.address}: {why} (tried for {now - outage:.1f} s)"
                    raise ConnectionLostError(text) from None
            links.closed.wait(min(pause, self._timeout - (now - outage)))
        raise AssertionError("unreachable")

    def _outage_since(self, outage: float | None, began: float, now: float, connected: bool) -> float:
        """Since when nothing has worked, after an attempt that began and failed at these times."""
        if not connected:
            return began if outage is None else outage
        # A call may wait for hours: what worked longer than we would try to connect starts a new outage.
        return now if outage is None or now - began > self._timeout else outage

    def _dial(self, links: Links, identity: bytes, outage: float | None) -> Link:
        """A new connection on which the handshake is over. Raises OSError, RefusedError or ProtocolError."""
        tried = 0.0 if outage is None else time.monotonic() - outage
        patience = min(HANDSHAKE_SECONDS, max(0.001, self._timeout - tried))
        secret, tls = self._security.secret_for(self.address), self._security.dialing(self.address)
        sock = _connected(self.address, patience)
        try:
            link = Link(sock, links, tls)
            link.shake_hands(Dialer(Role.storage_user, identity, self._name, secret, os.urandom(NONCE_BYTES)))
            sock.settimeout(self._timeout)
            links.add(link)
        except BaseException as error:
            sock.close()
            if isinstance(error, RefusedError) and self._security.secret_for(self.address) != secret:
                raise ConnectionRefusedError(str(error)) from None  # Who listens there has just been started.
            raise
        return link


def _flat(buffer: Buffer) -> memoryview:
    view = memoryview(buffer)
    return view.cast("B") if view.nbytes else memoryview(b"")


def _connected(address: Address, patience: float) -> socket.socket:
    """A connected socket. Raises OSError."""
    sock = (
        socket.socket(socket.AF_UNIX)
        if address.path
        else socket.create_connection((address.host, address.port), patience)
    )
    try:
        if address.path:
            sock.settimeout(patience)
            sock.connect(address.path)
        else:
            refuse_itself(sock)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            notice_dead_machines(sock)
    except BaseException:
        sock.close()
        raise
    return sock


def _use(links: Links, idle: list[Link], link: Link, act: Callable[[Link], _Answer]) -> _Answer:
    try:
        if idle is links.writers:
            link.release_again()
        answer = act(link)
    except ObjectStorageError:
        # The storage answered: the connection is as good as before.
        links.give_back(idle, link)
        raise
    except BaseException:
        links.drop(link)
        raise
    links.give_back(idle, link)
    return answer


class Links:
    """The connections of one process, idle and in use."""

    def __init__(self, identity: bytes, closed: bool = False) -> None:
        self.pid = os.getpid()
        self.identity = identity
        self.writing = threading.Lock()
        self.writers: list[Link] = []
        self.readers: list[Link] = []
        self.closed = threading.Event()
        self.instances: set[bytes] = set()
        """The identities of the storages that were here: it has another one when it was restarted."""
        self.failures: list[tuple[Tell, bytes, ObjectStorageError]] = []
        """Puts that were not waited for, and failed. Used under ``writing``."""
        self.unheard: list[Release] = []
        """Releases that the storage may not have heard. Used under ``writing``."""
        self.share: bool | None = None
        """Whether the storage and this process can use each other's shared memory; None before that was tried."""
        self._lock = threading.Lock()
        self._all: set[Link] = set()
        if closed:
            self.closed.set()

    def raise_if_closed(self) -> None:
        if self.closed.is_set():
            raise ClientClosedError("the storage client was closed")

    def take(self, idle: list[Link]) -> Link | None:
        """An idle connection that still works, if there is one. Raises ClientClosedError after close."""
        while True:
            with self._lock:
                self.raise_if_closed()
                if not idle:
                    return None
                link = idle.pop()
            if link.is_idle():
                return link
            self.drop(link)

    def add(self, link: Link) -> None:
        """Enter a new connection. Raises ClientClosedError after close."""
        with self._lock:
            self.raise_if_closed()
            self._all.add(link)

    def give_back(self, idle: list[Link], link: Link) -> None:
        with self._lock:
            if len(idle) < MAX_IDLE_READERS and not self.closed.is_set():
                idle.append(link)
                return
        self.drop(link)

    def drop(self, link: Link) -> None:
        with self._lock:
            self._all.discard(link)
        self.unheard += link.take_unheard()
        link.shut()
        link.sock.close()

    def close(self) -> None:
        with self._lock:
            self.closed.set()
            idle = self.writers + self.readers
            self.writers.clear()
            self.readers.clear()
            busy = self._all.difference(idle)
        for link in idle:
            self.drop(link)
        for link in busy:
            # Wakes the thread that uses it, which drops it.
            link.shut()

    def disown(self) -> None:
        """Close this process's copies. The lock is left alone: a thread that is not here may have held it."""
        for link in list(self._all):
            link.sock.close()


def _check_ids(owner: bytes, object_ids: list[bytes]) -> None:
    if len(owner) != IDENTITY_BYTES:
        raise ValueError(f"an owner has {IDENTITY_BYTES} bytes, not {len(owner)}")
    for object_id in object_ids:
        if len(object_id) != OBJECT_ID_BYTES:
            raise ValueError(f"an object id has {OBJECT_ID_BYTES} bytes, not {len(object_id)}")
