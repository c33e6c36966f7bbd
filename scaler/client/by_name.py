"""Calls of functions by their names, in MessagePack: nothing of them is pickled, and the client needs no copy of the function."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from scaler import serialization
from scaler.client.batch import Packer
from scaler.client.future import ScalerFuture
from scaler.client.state import Task
from scaler.messages import TaskOptions
from scaler.named import NamedFunction, check_path
from scaler.neutral import MessagePackSerializer

if TYPE_CHECKING:
    from scaler.client.service import ClientService


@lru_cache(1)
def _message_pack() -> MessagePackSerializer:
    """Raises ExtraMissingError."""
    return MessagePackSerializer()


@lru_cache(1024)
def function(path: str) -> NamedFunction:
    """The same object each time: the client's service knows functions by identity. Raises ValueError for a malformed path."""
    return NamedFunction(check_path(path), _message_pack().tag)


class NamedFuture(ScalerFuture):
    """The future of a call by name."""

    def __init__(self, service: ClientService, sequence: int, path: str) -> None:
        super().__init__(service, sequence, path)
        self._serializer = _message_pack()


class NamedPacker(Packer):
    """Calls of one function by name to arrays."""

    def __init__(self, service: ClientService, path: str, options: TaskOptions | None) -> None:
        super().__init__(service, function(path), options, False)
        self.serializer = _message_pack()
        self._path = path

    def pack_all(self, calls: Sequence[tuple[Any, ...]]) -> list[tuple[bytes, bytes]]:
        return [self.pack(args) for args in calls]

    def pack(self, args: tuple[Any, ...]) -> tuple[bytes, bytes]:
        return payload(self._service, self._path, args, {})


def submit(
    service: ClientService, path: str, args: Sequence[Any], kwargs: dict[str, Any], options: TaskOptions | None
) -> ScalerFuture:
    """Run one call. Raises ValueError for a malformed path, SerializationError that names the argument."""
    named = function(path)
    service.check_open()
    with service.making_tasks:
        number = service.function(named)
        content, object_id = payload(service, path, args, kwargs)
        sequence = service.sequences(1)[0]
        future = NamedFuture(service, sequence, path)
        service.submit([Task(sequence, number, content, options, object_id=object_id)], ((sequence, future),))
    return future


def payload(service: ClientService, path: str, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[bytes, bytes]:
    """(payload, object id) of a call; the id is empty where the arguments travel inline."""
    serializer = _message_pack()
    try:
        content = serializer.serialize((args, kwargs))
    except Exception:
        for place, argument in (*enumerate(args, 1), *kwargs.items()):
            serialization.write(serializer, argument, f"argument {place!r} of {path}")
        raise
    if len(content) <= service.inline_limit:
        return content, b""
    object_id = service.objects.put([content])
    return serializer.reference(object_id, len(content)), object_id
