"""Bytes objects are written again only when nobody can have seen them."""

from __future__ import annotations

from scaler._core.recycled import Recycled

SIZE = 1 << 20


def test_what_somebody_refers_to_stays_as_it_is() -> None:
    held = Recycled(10 * SIZE)
    first = held.copy(b"a" * SIZE)
    seen = {first: 1}
    view = memoryview(held.copy(memoryview(b"b" * SIZE)))
    held.copy(b"c" * SIZE)
    again = held.copy(b"d" * SIZE)
    assert len(held) == 3 and again == b"d" * SIZE
    assert first == b"a" * SIZE and seen == {b"a" * SIZE: 1} and view == b"b" * SIZE


def test_what_is_written_again_is_like_new() -> None:
    held = Recycled(10 * SIZE)
    made = held.copy(b"a" * SIZE)
    place, _ = id(made), hash(made)
    del made
    made = held.copy(b"b" * (SIZE - 5))
    assert id(made) == place and len(held) == 1 and held.size == SIZE
    assert (
        made == b"b" * (SIZE - 5) and hash(made) == hash(b"b" * (SIZE - 5)) and made + b"!" == b"b" * (SIZE - 5) + b"!"
    )
    del made
    assert id(held.copy(b"c" * SIZE)) == place, "it has the room that it had at first"
    assert id(held.copy(b"d" * (SIZE // 2))) != place, "much of it would be wasted"


def test_no_more_than_the_limit_is_held() -> None:
    held = Recycled(2 * SIZE)
    mine = [held.copy(bytes([i]) * SIZE) for i in range(4)]
    assert len(held) == 2 and held.size == 2 * SIZE and [one[0] for one in mine] == [0, 1, 2, 3]
    assert held.copy(bytes(3 * SIZE)) == bytes(3 * SIZE) and len(held) == 0 == held.size
    assert held.copy(b"small") == b"small" and held.copy(b"") == b"" and len(held) == 0
    mine = [held.copy(bytes(SIZE))]
    held.clear()
    assert len(held) == 0 == held.size and mine == [bytes(SIZE)]
