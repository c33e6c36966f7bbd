"""Claims against a dict, and two processes that race for the same positions."""

import mmap
import multiprocessing
import os
from multiprocessing.connection import Connection

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scaler._core.claims import MOST_ITEMS, PAGE_BYTES, POSITIONS, Claims

POSITION = st.integers(0, 3).flatmap(lambda n: st.sampled_from([n, n + POSITIONS, n + 7 * POSITIONS, 2**62 - 1 - n]))


class ClaimsMachine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        page = bytearray(PAGE_BYTES)
        self.worker = Claims(page)
        self.executor = Claims(page)
        self.entries: dict[int, tuple[int, str]] = {}
        self.running: int | None = None
        self.started = 0
        self.range: tuple[int, int, int] | None = None
        """(position, items begun, items)"""

    @rule(position=POSITION)
    def offer(self, position: int) -> None:
        self.worker.offer(position)
        self.entries[position % POSITIONS] = (position, "offered")

    @rule(position=POSITION, now=st.integers(0, 2**64 - 1))
    def take(self, position: int, now: int) -> None:
        wins = self.entries.get(position % POSITIONS) == (position, "offered")
        assert self.executor.take(position, now) is wins
        if wins:
            self.entries[position % POSITIONS] = (position, "taken")
            self.running, self.started = position, now

    @rule(position=POSITION)
    def revoke(self, position: int) -> None:
        wins = self.entries.get(position % POSITIONS) in ((position, "offered"), (position, "revoked"))
        assert self.worker.revoke(position) is wins
        if wins:
            self.entries[position % POSITIONS] = (position, "revoked")

    @rule()
    def rest(self) -> None:
        self.executor.rest()
        self.running = self.range = None

    @rule(count=st.integers(1, 3) | st.just(MOST_ITEMS))
    def open_range(self, count: int) -> None:
        if self.running is not None:
            self.executor.open_range(self.running, count)
            self.range = self.running, 0, count

    @rule(now=st.integers(0, 2**64 - 1))
    def take_item(self, now: int) -> None:
        position, begun, count = self.range or (0, 0, 0)
        assert self.executor.take_item(now) is (begun < count)
        if begun < count:
            self.range = position, begun + 1, count
            self.started = now

    @rule(position=POSITION)
    def trim(self, position: int) -> None:
        runs, begun, _ = self.range or (None, 0, 0)
        known = runs is not None and position % (1 << 16) == runs % (1 << 16)
        assert self.worker.item(position) == (max(0, begun - 1) if known else 0)
        assert self.worker.trim(position) == (begun if known else None)
        if known:
            self.range = runs, begun, begun

    @invariant()
    def same(self) -> None:
        for claims in (self.worker, self.executor):
            assert claims.running == self.running
            assert claims.started_us == self.started


TestClaims = ClaimsMachine.TestCase
TestClaims.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)


def test_pages_that_are_refused() -> None:
    for page in (bytearray(PAGE_BYTES - 1), bytes(PAGE_BYTES), memoryview(bytearray(PAGE_BYTES + 8))[1:]):
        with pytest.raises(ValueError):
            Claims(page)
    assert POSITIONS >= 1024
    assert POSITIONS & (POSITIONS - 1) == 0


def test_positions_that_are_refused() -> None:
    claims = Claims(bytearray(PAGE_BYTES))
    for position in (-1, 2**62, 2**64):
        with pytest.raises(OverflowError):
            claims.offer(position)


def test_the_page_is_kept() -> None:
    page = mmap.mmap(-1, PAGE_BYTES)
    claims = Claims(page)
    with pytest.raises(BufferError):
        page.close()
    del claims
    page.close()


def _let_the_other_go_on(position: int) -> None:
    """So that both are in the middle of the column at once, also where they share one busy core."""
    if position % 16 == 0:
        os.sched_yield()


def _executor(page: mmap.mmap, pipe: Connection, other_end: Connection, rounds: int) -> None:
    """Takes the positions of each round upwards and sends which it got."""
    other_end.close()
    claims = Claims(page)
    for turn in range(rounds):
        pipe.recv()
        first = turn * POSITIONS
        taken = []
        for position in range(first, first + POSITIONS):
            if claims.take(position, position):
                taken.append(position)
            _let_the_other_go_on(position)
        pipe.send(taken)
        claims.rest()


def test_one_of_two_processes_wins_each_position() -> None:
    rounds = 200
    page = mmap.mmap(-1, PAGE_BYTES)
    claims = Claims(page)
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    executor = fork.Process(target=_executor, args=(page, theirs, ours, rounds))
    executor.start()
    theirs.close()
    contested = 0
    try:
        for turn in range(rounds):
            positions = range(turn * POSITIONS, (turn + 1) * POSITIONS)
            for position in positions:
                claims.offer(position)
            ours.send(None)
            while claims.running is None and not ours.poll():
                os.sched_yield()
            revoked = []
            for position in reversed(positions):
                if claims.revoke(position):
                    revoked.append(position)
                _let_the_other_go_on(position)
            taken = ours.recv()
            assert sorted(revoked + taken) == list(positions)
            contested += bool(revoked and taken)
            assert claims.running is None or claims.running in taken
    finally:
        ours.close()
        executor.join(10)
        executor.kill()
    assert executor.exitcode == 0
    assert contested > 0


def _take_items(page: mmap.mmap, count: int, out: Connection) -> None:
    claims = Claims(page)
    claims.offer(0)
    claims.take(0, 0)
    claims.open_range(0, count)
    out.send("open")
    taken = 0
    while claims.take_item(taken):
        taken += 1
    out.send(taken)


def test_an_item_is_either_taken_or_trimmed_off() -> None:
    """The worker trims while the executor takes: both agree how many items have begun."""
    for _ in range(5):
        page = mmap.mmap(-1, PAGE_BYTES)
        mine, theirs = multiprocessing.Pipe()
        process = multiprocessing.get_context("fork").Process(target=_take_items, args=(page, MOST_ITEMS, theirs))
        process.start()
        assert mine.recv() == "open"
        begun = Claims(page).trim(0)
        assert mine.recv() == begun
        process.join()


@pytest.mark.parametrize("count", [0, MOST_ITEMS + 1])
def test_a_range_has_a_sensible_number_of_items(count: int) -> None:
    claims = Claims(bytearray(PAGE_BYTES))
    with pytest.raises(OverflowError, match="items"):
        claims.open_range(0, count)
