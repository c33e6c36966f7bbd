"""Extents never overlap, and free space is found again."""

from hypothesis import given
from hypothesis import strategies as st

from scaler.storage.extents import BLOCK_BYTES, Extents

KIB = 1 << 10


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 5 * BLOCK_BYTES), st.integers(0, 1 << 30))))
def test_extents_never_overlap(steps: list[tuple[bool, int, int]]) -> None:
    extents, taken, blocks = Extents(), [], set[int]()
    for take, size, choice in steps:
        if take or not taken:
            offset = extents.take(size)
            mine = set(range(offset, offset + size, BLOCK_BYTES))
            assert offset % BLOCK_BYTES == 0 and not mine & blocks
            blocks |= mine
            taken.append((offset, size))
        else:
            extent = taken.pop(choice % len(taken))
            extents.give_back(*extent)
            blocks -= set(range(extent[0], sum(extent), BLOCK_BYTES))
        extents.check()
        assert extents.used_bytes == len(blocks) * BLOCK_BYTES
        assert extents.end == max(blocks, default=-BLOCK_BYTES) + BLOCK_BYTES
    for offset, size in taken:
        extents.give_back(offset, size)
    assert extents.end == extents.used_bytes == 0


def test_first_that_fits_is_taken_and_neighbours_are_joined() -> None:
    extents = Extents()
    assert [extents.take(4 * KIB) for _ in range(4)] == [0, 4 * KIB, 8 * KIB, 12 * KIB]
    extents.give_back(0, 4 * KIB)
    extents.give_back(8 * KIB, 4 * KIB)
    assert extents.take(5 * KIB) == 16 * KIB
    extents.give_back(4 * KIB, 4 * KIB)
    assert extents.take(9 * KIB) == 0
