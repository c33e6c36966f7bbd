"""Large arguments that many calls take: put into the object storage once, known by identity while they live."""

from __future__ import annotations

import weakref
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import Buffer

from scaler import serialization
from scaler.buffers import size_of
from scaler.client.object_reference import ObjectReference

if TYPE_CHECKING:
    from scaler.client.service import ClientService

MAX_HELD = 64
MAX_HELD_BYTES = 1 << 30
"""How many objects without weak references (bytes, str, list, dict, tuple) are kept alive, and how large all of them may be,
as serialized. The one used last is kept whatever its size."""


@dataclass(slots=True, eq=False)
class _Shared:
    weak: weakref.ref[Any] | None
    held: Any
    """The object itself, where it cannot be referred to weakly: no other can then have its id."""
    reference: ObjectReference

    def stands_for(self, obj: Any) -> bool:
        return (self.weak() if self.weak is not None else self.held) is obj


class SharedObjects:
    """What a client's calls took before, by identity. Safe for use from several threads."""

    def __init__(self, service: ClientService) -> None:
        self._service = service
        self._lock = service.lock
        self.known: OrderedDict[int, _Shared] = OrderedDict()
        """By id, those used last at the end."""
        self._held_bytes = self._held = 0

    def any_known(self, args: Iterable[Any]) -> bool:
        """Whether one of these may have been shared before."""
        known = self.known
        return bool(known) and any(id(argument) in known for argument in args)

    def reference(self, obj: Any, what: str, reserialize: bool) -> ObjectReference | None:
        """What stands for an object, counted once for the task that takes it; None for one that is not large.

        Raises SerializationError that names ``what``.
        """
        if isinstance(obj, ObjectReference):
            return None
        if not reserialize and (found := self._find(obj)) is not None:
            return found
        content = serialization.write_parts(self._service.serializer, obj, what)
        if size_of(content) <= self._service.inline_limit:
            return None
        reference = put_content(self._service, content, type(obj).__name__, wait=False)
        self._remember(obj, reference)
        return reference

    def forget_all(self) -> None:
        """Free everything that no unfinished task takes."""
        with self._lock:
            while self.known:
                self._forget(next(iter(self.known)))

    def let_go(self) -> list[bytes]:
        """Forget everything; returns the ids of what was used by that, to be dropped."""
        with self._lock:
            entries = list(self.known.values())
            self.known.clear()
            self._held_bytes = self._held = 0
        return [entry.reference.object_id for entry in entries]

    def _find(self, obj: Any) -> ObjectReference | None:
        with self._lock:
            entry = self.known.get(id(obj))
            if entry is None or not entry.stands_for(obj):
                return None
            self.known.move_to_end(id(obj))
            self._service.objects.use(entry.reference.object_id)
            return entry.reference

    def _remember(self, obj: Any, reference: ObjectReference) -> None:
        key = id(obj)
        entry = _Shared(None, None, reference)
        try:
            entry.weak = weakref.ref(obj, lambda _: self._died(key, entry))
        except TypeError:
            entry.held = obj
        with self._lock:
            self._forget(key)
            self._service.objects.use(reference.object_id)
            self.known[key] = entry
            if entry.weak is not None:
                return
            self._held += 1
            self._held_bytes += reference.size
            forgotten = self._forget_the_oldest(key)
        self._service.objects.drop(entry.reference.object_id for entry in forgotten)

    def _forget_the_oldest(self, newest: int) -> list[_Shared]:
        """Returns what is to be dropped, and let go, when the lock is free."""
        forgotten = []
        while self._held > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:
            held = (key for key, entry in self.known.items() if entry.weak is None and key != newest)
            oldest = next(held, None)
            if oldest is None:
                break
            forgotten.append(self._take_out(oldest))
        return [entry for entry in forgotten if entry is not None]

    def _died(self, key: int, entry: _Shared) -> None:
        """Called wherever the object was let go, so nothing is sent from here."""
        with self._lock:
            if self.known.get(key) is entry:
                self._forget(key)

    def _forget(self, key: int) -> None:
        entry = self._take_out(key)
        if entry is not None:
            service, object_id = self._service, entry.reference.object_id
            service.soon(lambda: service.objects.drop([object_id]))

    def _take_out(self, key: int) -> _Shared | None:
        entry = self.known.pop(key, None)
        if entry is not None and entry.weak is None:
            self._held -= 1
            self._held_bytes -= entry.reference.size
        return entry


def put_content(service: ClientService, content: list[Buffer], label: str, wait: bool = True) -> ObjectReference:
    """Put what the client's serializer wrote into the object storage; without ``wait`` it may come there later."""
    tag, content = serialization.tagged(service.serializer, content)
    object_id = service.objects.put(content, wait)
    service.objects.names[object_id] = label
    return ObjectReference(object_id, size_of(content), label, tag, service.objects.kept.place(object_id))
