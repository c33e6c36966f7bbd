"""Clients inside tasks: all of one executor share a connection to each scheduler, which later tasks use too."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, cast
from weakref import WeakSet

from scaler import serialization
from scaler.client.service import ClientService
from scaler.errors import ClientClosedError
from scaler.ids import Address
from scaler.nesting import running
from scaler.security import Security

_lock = threading.Lock()
_connections: dict[tuple[object, ...], _Connection] = {}


class _Connection:
    """A connection, and the clients that use it."""

    def __init__(self, service: ClientService) -> None:
        self.service = service
        self.users: WeakSet[NestedService] = WeakSet()


class NestedService:
    """What a Client inside a task has for a service: a shared one, of which it can leave without ending it.

    Leaving cancels what was submitted through this client inside the task that runs. A client that outlives its task, since
    the function refers to it, can be used in the next one even if it was left.
    """

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._shared = connection.service
        self._lock = threading.Lock()
        self._run = running.run
        self._left = False
        self._spans: list[range] = []
        """Of sequences, submitted in the task that runs."""
        self.sent_objects: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shared, name)

    def _notice_next_task(self) -> None:
        with self._lock:
            if self._run != running.run:
                self._run, self._left, self._spans = running.run, False, []

    @property
    def closed(self) -> BaseException | None:
        """Why it cannot be used."""
        self._notice_next_task()
        return ClientClosedError("the client was closed") if self._left else self._shared.closed

    def check_open(self) -> None:
        """As ClientService.check_open()."""
        if self.closed is not None and self._left:
            raise self.closed
        self._shared.check_open()

    def sequences(self, count: int) -> range:
        """As ClientService.sequences()."""
        self._notice_next_task()
        span = self._shared.sequences(count)
        with self._lock:
            follows = self._spans and self._spans[-1].stop == span.start
            self._spans.append(range(self._spans.pop().start if follows else span.start, span.stop))
        return span

    def clear(self) -> None:
        """Have stopped what the task that runs submitted through this client, and free the objects that were sent."""
        self._notice_next_task()
        with self._lock:
            spans, self._spans = self._spans, []
            sent, self.sent_objects = self.sent_objects, []
        self._shared.cancel_between(spans)
        self._shared.objects.drop(sent)

    def close(self) -> None:
        """As clear(), and the client cannot be used any more in this task."""
        if self._shared.closed is None:
            self.clear()
        self._left = True
        with _lock:
            self._connection.users.discard(self)
            needed = self._connection.users or str(self._shared.address) == os.environ.get("SCALER_ADDRESS")
        if not needed:
            self._shared.close()


def nested_service(
    address: Address,
    storage_address: Address | None,
    serializer: serialization.Serializer,
    stream_output: bool,
    security: Security,
    make: Callable[[], ClientService],
) -> ClientService:
    """The service of a client inside a task: a share of the connection that this process has, or makes now.

    Heartbeat and timeout are those of the client that made the connection.
    """
    kind = "" if type(serializer) is serialization.DefaultSerializer else _written(serializer)
    key = (os.getpid(), address, storage_address, kind, stream_output, security.secret)
    with _lock:
        connection = _connections.get(key)
        if connection is None or connection.service.closed is not None:
            connection = _connections[key] = _Connection(make())
        share = NestedService(connection)
        connection.users.add(share)
    return cast(ClientService, share)


def _written(serializer: serialization.Serializer) -> object:
    """What tells serializers apart: two that are written alike are alike."""
    try:
        return serialization.DefaultSerializer.serialize(serializer)
    except Exception:
        return id(serializer)
