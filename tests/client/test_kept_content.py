"""What a client keeps of what it has put: as long as it is used, and within a limit."""

from __future__ import annotations

import threading
from collections import Counter

from scaler.client.kept_content import KeptContent
from scaler.storage.link import read_place, spare_here
from scaler.storage.segments import Spare, Written, share

X, Y, Z = b"x" * 16, b"y" * 16, b"z" * 16


def kept(limit: int = 100) -> KeptContent:
    return KeptContent(threading.RLock(), limit)


def test_bytes_are_not_copied_and_what_may_change_is() -> None:
    content, array = b"unchanging", bytearray(b"changing")
    store = kept()
    store.keep(X, [memoryview(content), array])
    array[:] = b"CHANGED!"
    first, second = store.get(X) or []
    assert first is content and second == b"changing"


def test_a_part_of_bytes_is_copied() -> None:
    store = kept()
    store.keep(X, [memoryview(bytes(1000))[:10]])
    assert store.get(X) == [bytes(10)]


def test_what_was_put_first_is_dropped_first() -> None:
    store = kept(limit=25)
    for name in (X, Y, Z):
        store.keep(name, [bytes(10)])
    assert store.get(X) is None and store.get(Y) and store.get(Z)
    store.keep(X, [bytes(26)])
    assert store.get(X) is None and store.get(Z), "what is too large drops nothing"
    store.keep(Y, [b"a text of 14 b"])
    assert store.get(Y) and store.get(Z), "it replaces the one before"


def test_what_is_in_shared_memory_is_read_there_and_can_be_found_there() -> None:
    store = kept(limit=20)
    store.keep_shared(X, Written(share([memoryview(b"in shared memory")]), 16))
    store.keep(Y, [b"y"])
    place = store.place(X)
    found = read_place(place)
    assert store.get(X) == [b"in shared memory"] == [found] and store.place(Y) == store.place(Z) == b""
    store.keep_shared(Z, Written(share([memoryview(bytes(21))]), 21))
    assert store.get(X) and not store.get(Z), "what is too large drops nothing"
    store.unused(X)
    assert store.get(X) is None and store.place(X) == b""
    assert found == b"in shared memory", "who reads it keeps it as it is"


def test_the_memory_of_what_is_dropped_is_written_again_when_nobody_reads_it() -> None:
    store, spare = kept(limit=20), Spare()
    spare_here.drop_unused(0)
    store.keep_shared(X, Written(share([memoryview(b"in shared memory")], spare), 16))
    place = store.place(X)
    reader = read_place(place)
    store.unused(X)
    assert spare_here.take(16).name.encode() not in place, "it is still read"
    del reader
    again = spare_here.take(16)
    again.write([memoryview(b"something else!!")])
    assert read_place(place) is None, "it is another object's now"


def test_it_is_dropped_when_nothing_uses_it_any_more() -> None:
    store, uses = kept(), Counter({Y: 1})
    for name in (X, Y, Z):
        store.keep(name, [b"content"])
    store.hold(X + Y)
    store.hold(X)
    for name in (X, Z):
        store.unused(name)
    assert store.get(X) and store.get(Z) is None
    store.let_go(X + Y, uses)
    assert store.get(X) and store.holds(X) and store.get(Y), "X is held twice, Y is used"
    store.let_go(X, uses)
    assert store.get(X) is None and not store.holds(X)
