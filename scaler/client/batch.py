"""map and starmap: calls packed into task arrays, results by position, without a future or a task object for each."""

from __future__ import annotations

import itertools
import pickle
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from scaler import serialization
from scaler.client.arrays import ArrayTask, ItemsEnded
from scaler.client.future import LOOK_UP_SECONDS, Outcome, read_outcome
from scaler.client.object_reference import ObjectReference
from scaler.errors import ScalerError, SerializationError
from scaler.messages import MESSAGE_BYTES, ResultStatus, TaskOptions, runs
from scaler.serialization import INLINE, MAIN_MODULES, PROTOCOL, DefaultSerializer, Serializer

if TYPE_CHECKING:
    from scaler.client.service import ClientService

FIRST_PULL, LARGEST_PULL = 500, 20_000
"""How many calls are packed at once: few at first, so that they run while the others are packed."""
_GOOD = (ResultStatus.succeeded, ResultStatus.stored)


class Packer:
    """Calls of one function to arrays."""

    def __init__(
        self, service: ClientService, fn: Callable[..., Any], options: TaskOptions | None, reserialize: bool
    ) -> None:
        self._service = service
        self._fn = fn
        self._options = options
        self._renew = reserialize
        self._renewed: set[int] = set()
        """Arguments serialized anew, by id: once a map is enough."""
        self._number = service.function(fn, reserialize)
        self.serializer = service.serializer
        """What reads the results."""
        self._plain = type(service.serializer) is DefaultSerializer

    def pack_all(self, calls: Sequence[tuple[Any, ...]]) -> list[tuple[bytes, bytes]]:
        """(payload, object id) of each, as pack()."""
        if self._plain and not any(map(self._service.shared.any_known, calls)):
            contents = self._all_small(calls)
            together = b"".join(contents)
            if contents and not any(name in together for name in MAIN_MODULES):
                return [(INLINE + content, b"") for content in contents]
        return [self.pack(args) for args in calls]

    def _all_small(self, calls: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """The arguments of each, pickled; nothing where one is large, or cannot be."""
        limit, contents = self._service.inline_limit, []
        try:
            for args in calls:
                content = pickle.dumps((args, {}), PROTOCOL)
                if len(content) > limit:  # No copy of what many calls may take.
                    return []
                contents.append(content)
        except Exception:
            return []
        return contents

    def pack(self, args: tuple[Any, ...]) -> tuple[bytes, bytes]:
        """(payload, object id) of one call; the id is empty where the arguments travel inline.

        Raises SerializationError that names the part that cannot be serialized.
        """
        return call_payload(self._service, self._fn, args, {}, self._renew, self._renewed)

    def arrays(self, packed: list[tuple[bytes, bytes]], owner: Any) -> Iterator[ArrayTask]:
        """Arrays of these, none of which is too large for a message."""
        sizes = [len(payload) for payload, _ in packed]
        for first, last in runs(sizes):
            count = last - first
            items = b"".join([payload for payload, _ in packed[first:last]])
            ends = array("I", accumulate(sizes[first:last]))
            objects = {i: packed[first + i][1] for i in range(count) if packed[first + i][1]}
            sequence = self._service.sequences(count)[0]
            yield ArrayTask(sequence, self._number, items, ends, self._options, objects, owner)


def call_payload(
    service: ClientService,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    reserialize: bool = False,
    renewed: set[int] | None = None,
) -> tuple[bytes, bytes]:
    """(payload, object ids) of a call; large arguments are shared, the ids of all that is stored follow each other.

    With ``reserialize`` what is known of an argument is renewed, but for those whose ids are in ``renewed``.
    """
    if not (service.shared.known and service.shared.any_known((*args, *kwargs.values()))):
        limit = service.inline_limit
        for argument in args:
            if type(argument) is bytes and len(argument) > limit:
                break
        else:
            content = serialization.write_small(service.serializer, (args, kwargs), limit)
            if content is not None:
                return INLINE + content, b""
        if type(service.serializer) is not DefaultSerializer:
            content = arguments(service, fn, args, kwargs)
            if len(content) <= limit:
                return INLINE + content, b""
    taken: dict[int, ObjectReference] = {}
    renewed = set() if renewed is None else renewed
    name = serialization.name_of(fn)

    def share(argument: Any, place: int | str) -> Any:
        key = id(argument)
        if key not in taken:
            what = f"argument {place!r} of {name}"
            reference = service.shared.reference(argument, what, reserialize and key not in renewed)
            if reference is None:
                return argument
            renewed.add(key)
            taken[key] = reference
        return taken[key]

    try:
        args = tuple(share(argument, place + 1) for place, argument in enumerate(args))
        kwargs = {key: share(argument, key) for key, argument in kwargs.items()}
        payload, object_id = service.payload(INLINE, arguments(service, fn, args, kwargs))
    except BaseException:
        service.objects.drop(reference.object_id for reference in taken.values())
        raise
    return payload, b"".join([object_id, *(reference.object_id for reference in taken.values())])


def arguments(service: ClientService, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """A call's arguments, serialized. Raises SerializationError that names the part that cannot be."""
    try:
        return service.serializer.serialize((args, kwargs))
    except Exception as error:
        name = serialization.name_of(fn)
        places: list[tuple[int | str, Any]] = [*enumerate(args), *kwargs.items()]
        for place, argument in places:
            label = str(place + 1) if isinstance(place, int) else repr(place)
            serialization.write(service.serializer, argument, f"argument {label} of {name}")
        raise SerializationError(f"the arguments of {name} cannot be serialized: {error}") from error


def read_items(service: ClientService, ended: ItemsEnded, serializer: Serializer) -> list[Any]:
    """The results of items that ended well."""
    service.collections.add(ended.whole.first + ended.begin, ended.end - ended.begin)
    if ended.status == ResultStatus.stored or not ended.ends:
        value, error = read_outcome(Outcome(ended.status, ended.payload), service, serializer=serializer)
        if error is not None:
            raise error
        return [value]
    read = pickle.loads if type(serializer) is DefaultSerializer else serializer.deserialize
    payload, begins = ended.payload, itertools.chain((0,), ended.ends)
    try:
        return [read(payload[begin:end]) for begin, end in zip(begins, ended.ends, strict=False)]
    except Exception as error:
        raise SerializationError(f"a result cannot be deserialized: {type(error).__name__}: {error}") from error


def failure_of(service: ClientService, outcome: Outcome | BaseException) -> BaseException:
    """The exception to raise for something that did not end well."""
    if isinstance(outcome, BaseException):
        return outcome
    if outcome.status == ResultStatus.cancelled:
        return CancelledError()
    return read_outcome(outcome, service)[1] or ScalerError("a task failed")


class Batch:
    """The calls of one map: an ArrayWaiter of all its arrays."""

    def __init__(self, service: ClientService, packer: Packer) -> None:
        self._service = service
        self._packer = packer
        self._arrays: list[ArrayTask] = []
        self._places: dict[int, int] = {}
        """By the sequence of an array's first item: its place in the results."""
        self._ended: list[tuple[int, ItemsEnded]] = []
        self._changed = threading.Condition()
        self._submitted = self._left = 0
        self._failed: tuple[int, Outcome | BaseException] | None = None
        self._watched = False

    def submit_all(self, calls: Iterable[Sequence[Any]]) -> None:
        """Pack and send, as long as nothing fails."""
        iterator, pull = iter(calls), FIRST_PULL
        while (chunk := [tuple(args) for args in itertools.islice(iterator, pull)]) and self._failed is None:
            packed = self._packer.pack_all(chunk)
            for whole in self._packer.arrays(packed, self):
                self._submit(whole)
            size = sum(len(payload) for payload, _ in packed) // len(packed)
            pull = max(1, min(LARGEST_PULL, 2 * pull, 4 * MESSAGE_BYTES // size))

    def _submit(self, whole: ArrayTask) -> None:
        with self._changed:
            self._places[whole.first] = self._submitted
            self._arrays.append(whole)
            self._submitted += len(whole)
            self._left += len(whole)
        self._service.submit_array(whole)

    def finish_items(self, ended: ItemsEnded) -> None:
        """Called by the client's thread."""
        with self._changed:
            place = self._places[ended.whole.first] + ended.begin
            self._ended.append((place, ended))
            self._left -= ended.end - ended.begin
            if ended.status not in _GOOD:
                self._fail(place, Outcome(ended.status, ended.payload))
            if not self._left or self._watched:
                self._changed.notify_all()

    def give_up(self, outcome: Outcome | BaseException) -> None:
        """No more will end: the client was closed or cleared."""
        with self._changed:
            self._fail(self._submitted, outcome)

    def _fail(self, place: int, outcome: Outcome | BaseException) -> None:
        if self._failed is None:
            self._failed = place, outcome
            self._changed.notify_all()

    def results(self, progress: str | None) -> list[Any]:
        """All results, in order. Raises the first failure as soon as it is known."""
        if progress is not None:
            self._show(progress)
        with self._changed:
            while not self._changed.wait_for(lambda: not self._left or self._failed is not None, LOOK_UP_SECONDS):
                pass
        self._service.show_output()
        if self._failed is not None:
            raise failure_of(self._service, self._failed[1])
        values: list[Any] = []
        self._ended.sort(key=lambda entry: entry[0])
        for _, ended in self._ended:
            values += read_items(self._service, ended, self._packer.serializer)
        return values

    def _show(self, label: str) -> None:
        """A progress bar until all have ended or one has failed."""
        from tqdm.auto import tqdm  # a widget in notebooks, a line in terminals

        total = self._submitted
        self._watched = True
        with tqdm(total=total, desc=label, unit="task", dynamic_ncols=True) as bar:
            while bar.n < total and self._failed is None:
                with self._changed:
                    self._changed.wait_for(lambda: total - self._left > bar.n or self._failed is not None)
                bar.update(total - self._left - bar.n)

    def cancel(self) -> None:
        """Stop what has not ended, and free what was stored."""
        self._service.cancel_arrays(self._arrays)
        for _, ended in self._ended:
            self._service.collections.add(ended.whole.first + ended.begin, ended.end - ended.begin)
            if ended.status == ResultStatus.stored:
                self._service.objects.release(serialization.stored_id(ended.payload))
