"""The storage with a memory limit, and a disk that does what the test says."""

from __future__ import annotations

import errno
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from scaler.machine import Close, Log, Output, Pause, Peer, Resume, Send
from scaler.messages import (
    Abandon,
    Get,
    Link,
    Piece,
    Put,
    PutWaits,
    Release,
    ReleaseOwner,
    Role,
    StorageFailure,
    StorageFailureReason,
    Stored,
)
from scaler.storage import gets as storage_gets
from scaler.storage.admission import BACK_OFF_SECONDS, REASSURE_SECONDS, SMALL, SMALL_RESERVE, STALL_SECONDS
from scaler.storage.content import Content, Room
from scaler.storage.outputs import Adopted, Forget, Mark, Open, Restore, Spill, StopTransmit, Transmit
from scaler.storage.state import StorageState

ANN, BEN = b"A" * 16, b"B" * 16


@pytest.fixture(autouse=True)
def all_transmissions_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those of the few bytes that are put here."""
    monkeypatch.setattr(storage_gets, "UNCOUNTED_BYTES", 0)


def name(number: int) -> bytes:
    return bytes([number]) * 16


def content(number: int, size: int = 8) -> bytes:
    return bytes([number]) * size


def spill(key: int, number: int, size: int = 8) -> Spill:
    return Spill(key, memoryview(content(number, size)), name(number))


def transmit(peer: int, request: int, number: int, size: int = 8) -> Transmit:
    return Transmit(peer, request, Content(memoryview(content(number, size))))


class Rig:
    """A state with room for 16 bytes and two users; transmissions end at once unless ``slow``."""

    def __init__(self, limit: int = 16, slow: bool = False) -> None:
        self.state = StorageState(memory_limit_bytes=limit)
        self.now = 0.0
        self.slow = slow
        for peer in (1, 2):
            self.state.peer_connected(peer, Peer(Role.storage_user, bytes([peer]) * 16), self.now)
        self.settle()

    def say(self, peer: int, message: Any, attachment: bytes = b"") -> list[Output]:
        self.state.receive(peer, message, self.now, attachment)
        return self.settle()

    def put(self, number: int, size: int = 8, peer: int = 1) -> list[Output]:
        """Put an object of which all bytes are the number, as the request of this number."""
        return self.say(peer, Put(number, name(number), ANN, size, 0), content(number, size))

    def settle(self) -> list[Output]:
        self.state.check()
        outputs = self.state.drain(self.now)
        self.state.check()
        if not self.slow:
            for output in outputs:
                if isinstance(output, Transmit) and self.state.transmitted(output.peer, output.request):
                    outputs += self.state.drain(self.now)
        return [output for output in outputs if not isinstance(output, Log)]

    def spilled(self, key: int) -> list[Output]:
        self.state.spilled(key)
        return self.settle()

    def spill_failed(self, key: int) -> list[Output]:
        self.state.spill_failed(key, "/tmp: No space left on device", self.now)
        return self.settle()

    def restored(self, key: int, data: bytes) -> list[Output]:
        self.state.restored(key, Content(memoryview(data)))
        return self.settle()

    def tick(self, seconds: float) -> list[Output]:
        self.now += seconds
        self.state.tick(self.now)
        return self.settle()

    def stored(self, *numbers: int) -> None:
        """Put objects that go to disk as they have to."""
        for number in numbers:
            outputs = self.put(number)
            while spills := [output for output in outputs if isinstance(output, Spill)]:
                outputs = [later for spill in spills for later in self.spilled(spill.key)]

    def number(self, what: str) -> int:
        return int(self.state.snapshot()[what])


def failed(peer: int, request: int, reason: StorageFailureReason, outputs: list[Output]) -> str:
    """The text of the failure among these."""
    (found,) = [one.message for one in outputs if isinstance(one, Send) and isinstance(one.message, StorageFailure)]
    assert (found.request, found.reason) == (request, reason)
    return found.text


def test_put_beyond_the_limit_waits_until_the_oldest_is_on_disk() -> None:
    rig = Rig()
    rig.put(1)
    (stored, first) = rig.put(2)
    assert stored == Send(1, Stored(2)) and first == spill(1, 1)
    assert rig.put(3) == [spill(2, 2), Send(1, PutWaits(3)), Pause(1)]
    assert rig.number("waiting_puts") == 1
    assert rig.spilled(1) == [Resume(1), Send(1, Stored(3))]
    assert (rig.number("spilled_objects"), rig.number("memory_bytes"), rig.number("bytes")) == (1, 16, 24)


def test_object_is_read_back_once_for_all_who_wait() -> None:
    rig = Rig()
    rig.stored(1, 2, 3)
    assert rig.say(1, Get(11, name(1)))[0] == Restore(1, 8)
    assert rig.say(2, Get(12, name(1))) == []
    outputs = rig.restored(1, content(1))
    assert outputs[:2] == [transmit(1, 11, 1), transmit(2, 12, 1)]
    assert rig.say(2, Get(13, name(1))) == [transmit(2, 13, 1)]
    assert (rig.number("restores"), rig.number("gets_restored"), rig.number("gets_at_once")) == (1, 2, 1)


def test_object_is_written_once_however_often_it_leaves_memory() -> None:
    rig = Rig()
    rig.stored(1, 2, 3)
    restores = 0
    for request, number in enumerate((1, 2, 3) * 3, 10):
        outputs = rig.say(1, Get(request, name(number)))
        while outputs:
            output = outputs.pop(0)
            if isinstance(output, Spill):
                outputs += rig.spilled(output.key)
            elif isinstance(output, Restore):
                restores += 1
                outputs += rig.restored(output.key, content(number))
            else:
                assert output == transmit(1, request, number)
    assert rig.number("restores") == restores == 9, "the one that is next was used longest ago"
    assert rig.number("spills") == 3


def test_object_larger_than_the_limit_is_taken_alone_and_spilled() -> None:
    rig = Rig()
    rig.put(1)
    outputs = rig.put(2, 100)
    assert outputs == [spill(1, 1), Send(1, PutWaits(2)), Pause(1)]
    outputs = rig.spilled(1)
    assert outputs == [Resume(1), Send(1, Stored(2)), spill(2, 2, 100)]
    rig.spilled(2)
    rig.put(3)
    assert rig.number("memory_bytes") == 8
    assert rig.say(1, Get(9, name(2))) == [spill(3, 3)]
    assert rig.spilled(3) == [Restore(2, 100)]
    assert rig.restored(2, content(2, 100)) == [transmit(1, 9, 2, 100)]
    assert rig.put(4) == [Send(1, Stored(4))] and rig.number("memory_bytes") == 8


def test_puts_that_were_admitted_can_be_completed_and_later_ones_wait_in_turn() -> None:
    rig = Rig()
    assert rig.say(1, Put(1, name(1), ANN, 10, 0), b"a") == []
    assert rig.say(2, Put(2, name(2), ANN, 10, 0), b"b") == [Send(2, PutWaits(2)), Pause(2)]
    assert rig.say(1, Put(1, name(1), ANN, 10, 1), b"a" * 9)[0] == Send(1, Stored(1))
    assert rig.spilled(1) == [Resume(2)]
    assert rig.say(2, Put(2, name(2), ANN, 10, 1), b"b" * 9)[0] == Send(2, Stored(2))


def test_small_objects_do_not_wait_for_large_ones_but_take_little_beyond_the_limit() -> None:
    size = 1 << 16
    small, reserve = size // SMALL, size // SMALL_RESERVE
    rig = Rig(limit=size)
    rig.put(1, size)
    assert rig.put(2, size)[-1] == Pause(1)

    def put(number: int) -> list[Output]:
        return rig.say(2, Put(number, number.to_bytes(16, "big"), ANN, small, 0), bytes(small))

    assert all(Send(2, Stored(number)) in put(number) for number in range(reserve // small))
    assert rig.number("memory_bytes") == size + reserve
    assert put(1000) == [Send(2, PutWaits(1000)), Pause(2)]


def test_two_puts_of_one_peer_at_once_do_not_wait_for_each_other_for_ever() -> None:
    rig = Rig()
    rig.say(1, Put(1, name(1), ANN, 10, 0), b"a")
    outputs = rig.say(1, Put(2, name(2), ANN, 10, 0), b"b")
    assert outputs == [], "neither can be completed while the peer is not read from, so there is room for both"


def test_full_disk_fails_puts_beyond_the_limit_and_nothing_else() -> None:
    rig = Rig()
    rig.put(1)
    rig.put(2)
    rig.put(3)
    rig.spill_failed(1)
    text = failed(1, 3, StorageFailureReason.full, rig.spill_failed(2))
    assert "16 of 16 bytes" in text and "No space left" in text
    assert "16" in failed(2, 4, StorageFailureReason.full, rig.put(4, peer=2)), "at once, while the disk fails"
    for number in (1, 2):
        assert rig.say(1, Get(10 + number, name(number))) == [transmit(1, 10 + number, number)]
    rig.say(1, Release(name(1), ANN))
    assert rig.put(5, 6) == [Send(1, Stored(5))], "what fits is taken"
    assert rig.number("spill_failures") == 2


def test_failing_disk_is_tried_again_later_and_later() -> None:
    rig = Rig()
    rig.put(1)
    (_, spill) = rig.put(2)
    for seconds in (*BACK_OFF_SECONDS, BACK_OFF_SECONDS[-1]):
        assert rig.spill_failed(spill.key) == []
        assert rig.state.next_deadline() == rig.now + seconds
        (spill,) = rig.tick(seconds)
    rig.spilled(spill.key)
    assert rig.state.next_deadline() is None
    assert Send(1, Stored(3)) in rig.put(3)


def test_what_is_on_disk_can_be_had_while_the_disk_is_full() -> None:
    rig = Rig()
    rig.put(1)
    rig.put(2, 16)
    assert rig.spilled(1) == [Resume(1), Send(1, Stored(2)), spill(2, 2, 16)]
    assert rig.say(2, Get(9, name(1))) == [], "there may soon be room"
    assert rig.spill_failed(2) == [Restore(1, 8)], "it is let in beyond the limit, since it can be dropped again"
    assert rig.restored(1, content(1)) == [transmit(2, 9, 1)]


def test_unreadable_copy_fails_its_gets_and_is_tried_again_by_the_next() -> None:
    rig = Rig()
    rig.stored(1, 2, 3)
    rig.say(1, Get(9, name(1)))
    rig.state.restore_failed(1, "/tmp: Input/output error")
    assert "Input/output" in failed(1, 9, StorageFailureReason.unreadable, rig.settle())
    assert rig.say(1, Get(10, name(1))) == [Restore(1, 8)]


def test_object_freed_while_it_is_written() -> None:
    rig = Rig()
    rig.put(1)
    rig.put(2)
    assert rig.say(1, Release(name(1), ANN)) == []
    assert rig.number("memory_bytes") == 16, "its bytes are still there"
    assert Send(1, PutWaits(1)) in rig.put(1), "the same object again is another one"
    outputs = rig.spilled(1)
    assert outputs[0] == Forget(1) and Send(1, Stored(1)) in outputs


def test_object_freed_while_it_is_read_answers_those_who_came_before() -> None:
    rig = Rig(slow=True)
    rig.stored(1, 2, 3)
    rig.say(1, Get(9, name(1)))
    rig.say(1, Release(name(1), ANN))
    assert failed(2, 10, StorageFailureReason.freed, rig.say(2, Get(10, name(1))))
    assert rig.restored(1, content(1)) == [transmit(1, 9, 1)]
    rig.state.transmitted(1, 9)
    assert rig.settle() == [Forget(1)]


def test_object_on_disk_is_forgotten_with_its_owner() -> None:
    rig = Rig()
    rig.stored(1, 2, 3)
    copies = rig.number("spills")
    assert [output.key for output in rig.say(2, ReleaseOwner(ANN))] == list(range(1, copies + 1))
    assert rig.number("spilled_bytes") == rig.number("memory_bytes") == rig.number("bytes") == 0


def test_get_that_is_abandoned_while_it_waits_for_room() -> None:
    rig = Rig()
    rig.stored(1, 2, 3)
    rig.say(2, Put(4, name(4), ANN, 12, 0), b"d")
    assert rig.say(1, Get(9, name(1))) == [] and rig.number("waiting_gets") == 1
    assert rig.say(1, Abandon(9)) == [] and rig.number("waiting_gets") == 0


def test_bytes_being_transmitted_count_and_stay() -> None:
    rig = Rig(slow=True)
    rig.put(1)
    rig.say(2, Get(9, name(1)))
    rig.say(1, Release(name(1), ANN))
    assert rig.number("bytes") == 0 and rig.number("memory_bytes") == 8
    rig.put(2)
    assert rig.put(3)[:2] == [Send(1, PutWaits(3)), Pause(1)]
    assert rig.state.transmitted(2, 9), "a drain is due"
    assert Send(1, Stored(3)) in rig.settle()


def test_lost_reader_gives_its_bytes_back() -> None:
    rig = Rig(slow=True)
    rig.put(1)
    rig.say(2, Get(9, name(1)))
    rig.say(1, Release(name(1), ANN))
    rig.state.peer_lost(2, "gone", rig.now)
    rig.settle()
    assert rig.number("memory_bytes") == 0 and not rig.state.transmitted(2, 9)


def test_those_that_wait_are_told_so() -> None:
    rig = Rig()
    rig.say(1, Put(1, name(1), ANN, 16, 0), b"a")
    rig.put(2, peer=2)
    assert rig.state.next_deadline() == rig.now + REASSURE_SECONDS
    assert rig.tick(REASSURE_SECONDS) == rig.tick(REASSURE_SECONDS) == [Send(2, PutWaits(2))]


def test_put_that_brings_nothing_is_closed_when_others_wait_for_its_room() -> None:
    rig = Rig()
    rig.say(1, Put(1, name(1), ANN, 16, 0), b"a")
    assert rig.tick(STALL_SECONDS) == []
    closed, stored = rig.put(2, peer=2)
    assert isinstance(closed, Close) and closed.peer == 1 and "brought nothing" in closed.reason
    assert stored == Send(2, Stored(2))


def test_put_for_which_the_system_has_no_memory_fails_alone() -> None:
    def allocate(size: int) -> Room:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    rig = Rig()
    rig.state = StorageState(memory_limit_bytes=16, allocate=allocate)
    rig.state.peer_connected(1, Peer(Role.storage_user, ANN), rig.now)
    rig.put(1)
    text = failed(1, 2, StorageFailureReason.full, rig.say(1, Put(2, name(2), ANN, 8, 0), b"b"))
    assert "no memory for an object of 8 bytes: Cannot allocate memory" in text
    assert rig.say(1, Put(2, name(2), ANN, 8, 1), b"b" * 7) == []
    assert rig.put(3) == [Send(1, Stored(3)), spill(1, 1)] and rig.number("memory_bytes") == 16


def test_lost_uploader_makes_room() -> None:
    rig = Rig()
    rig.say(1, Put(1, name(1), ANN, 16, 0), b"a")
    rig.put(2, peer=2)
    rig.state.peer_lost(1, "gone", rig.now)
    assert Send(2, Stored(2)) in rig.settle()


def pieces(size: int, file: str = "file") -> list[Piece]:
    return [Piece(7, 3, file, 1, 0, size)]


def opened(rig: Rig, number: int, *files: tuple[str, int], size: int = 8, peer: int = 1) -> list[Output]:
    """What the state asked to be opened by the put of this number is there."""
    view = memoryview(content(number, size))
    rig.state.opened(peer, number, Content(view, object(), files or ((f"file {number}", size),)))
    return rig.settle()


def test_put_in_shared_memory_is_opened_when_there_is_room() -> None:
    rig = Rig()
    rig.put(1)
    rig.put(2)
    put = Put(3, name(3), ANN, 8, 0, pieces(8))
    assert rig.say(1, put) == [spill(2, 2), Send(1, PutWaits(3)), Pause(1)]
    assert rig.spilled(1) == [Resume(1), Open(1, 3, 8, pieces(8))]
    assert rig.number("memory_bytes") == 16, "its room is kept for it"
    assert opened(rig, 3) == [Send(1, Stored(3))]
    assert rig.number("memory_bytes") == 16 and rig.number("bytes") == 24


def test_put_in_shared_memory_fails_on_a_full_disk() -> None:
    rig = Rig()
    rig.put(1)
    rig.put(2)
    rig.say(1, Put(3, name(3), ANN, 8, 0, pieces(8)))
    rig.spill_failed(1)
    assert "16 of 16 bytes" in failed(1, 3, StorageFailureReason.full, rig.spill_failed(2))


def test_put_in_shared_memory_that_cannot_be_opened_gives_its_room_back() -> None:
    rig = Rig()
    assert rig.say(1, Put(1, name(1), ANN, 12, 0, pieces(12))) == [Open(1, 1, 12, pieces(12))]
    assert rig.say(2, Put(2, name(2), ANN, 12, 0, pieces(12))) == [Send(2, PutWaits(2)), Pause(2)]
    rig.state.opened(1, 1, None, "it is gone")
    outputs = rig.settle()
    assert failed(1, 1, StorageFailureReason.not_shared, outputs)
    assert outputs[-2:] == [Resume(2), Open(2, 2, 12, pieces(12))]


def test_result_that_is_part_of_its_input_counts_once() -> None:
    rig = Rig(limit=64)
    rig.say(1, Put(1, name(1), ANN, 8, 0, pieces(8)))
    opened(rig, 1, ("input", 9))
    assert rig.number("memory_bytes") == 9
    rig.say(1, Put(2, name(2), ANN, 6, 0, pieces(6)))
    opened(rig, 2, ("input", 9), ("rest", 2), size=6)
    assert rig.number("memory_bytes") == 11 and rig.number("bytes") == 14
    rig.say(1, Release(name(1), ANN))
    assert rig.number("memory_bytes") == 11, "the result holds the whole file"
    rig.say(1, Release(name(2), ANN))
    assert rig.number("memory_bytes") == 0


def test_all_objects_of_a_file_are_spilled_before_its_room_is_given_away() -> None:
    rig = Rig(limit=24)
    for number in (1, 2):
        rig.say(1, Put(number, name(number), ANN, 8, 0, pieces(8)))
        opened(rig, number, ("input", 10))
    assert rig.number("memory_bytes") == 10
    assert rig.put(3, 16) == [spill(1, 1), Send(1, PutWaits(3)), Pause(1)]
    assert rig.spilled(1) == [spill(2, 2)], "the file is still there"
    assert rig.number("spilled_objects") == 1 and rig.number("memory_bytes") == 10
    assert rig.spilled(2)[:2] == [Resume(1), Send(1, Stored(3))]
    assert rig.number("spilled_objects") == 2 and rig.number("memory_bytes") == 16


def test_who_is_told_of_shared_memory_finds_what_was_just_read_back() -> None:
    rig = Rig(slow=True)
    rig.stored(1, 2, 3)
    rig.say(2, Get(9, name(1), shared=True))
    rig.state.restored(1, Content(memoryview(content(1)), object(), (("new", 8),)))
    (told,) = rig.settle()
    assert isinstance(told, Transmit) and told.shared and told.counted
    rig.say(1, Put(4, name(4), ANN, 16, 0), content(4))
    assert rig.say(2, Get(10, name(1), shared=True))[0] == Transmit(2, 10, told.content, True), "it is still there"
    assert rig.state.transmitted(2, 9)


def test_who_is_told_of_shared_memory_delays_nothing() -> None:
    rig = Rig(slow=True)
    rig.say(1, Put(1, name(1), ANN, 8, 0, pieces(8)))
    opened(rig, 1)
    (told,) = rig.say(2, Get(9, name(1), shared=True))
    assert isinstance(told, Transmit) and not told.counted
    rig.say(1, Release(name(1), ANN))
    assert rig.number("memory_bytes") == 0


def durable_rig() -> Rig:
    rig = Rig()
    rig.state = StorageState(memory_limit_bytes=16, durable=True)
    for peer in (1, 2):
        rig.state.peer_connected(peer, Peer(Role.storage_user, bytes([peer]) * 16), rig.now)
    return rig


def test_durable_put_is_answered_when_it_is_written() -> None:
    rig = durable_rig()
    assert rig.put(1) == [Spill(1, memoryview(content(1)), name(1), (ANN,))]
    assert rig.say(2, Put(9, name(1), BEN, 8, 0), content(1)) == [Mark(1, BEN, True)]
    assert rig.say(2, Get(10, name(1))) == [transmit(2, 10, 1)], "it can be had before"
    assert rig.spilled(1) == [Send(1, Stored(1)), Send(2, Stored(9, True))]
    assert rig.say(1, Release(name(1), ANN)) == [Mark(1, ANN, False)]
    assert rig.say(1, Release(name(1), BEN)) == [Forget(1)]


def test_durable_put_that_cannot_be_written_fails_and_leaves_nothing() -> None:
    rig = durable_rig()
    rig.put(1)
    rig.say(2, Link(9, name(1), BEN))
    outputs = rig.spill_failed(1)
    assert [(one.peer, one.message.request, int(one.message.reason)) for one in outputs] == [(1, 1, 7), (2, 9, 7)]
    assert "No space" in outputs[0].message.text
    assert rig.number("objects") == rig.number("owners") == rig.number("memory_bytes") == 0
    (again,) = rig.put(1)
    assert rig.spilled(again.key) == [Send(1, Stored(1))]


def test_durable_objects_are_adopted() -> None:
    rig = durable_rig()
    rig.state.adopt([Adopted(7, name(1), 8, (ANN, BEN))])
    assert rig.number("bytes") == rig.number("spilled_bytes") == 8
    assert rig.say(1, Get(1, name(1))) == [Restore(7, 8)]
    assert rig.restored(7, content(1)) == [transmit(1, 1, 1)]
    assert rig.put(2) == [Spill(8, memoryview(content(2)), name(2), (ANN,))], "keys go on"
    assert rig.say(1, ReleaseOwner(ANN))[0] == Mark(7, ANN, False)
    assert rig.say(1, Release(name(1), BEN)) == [Forget(7)]


class Storm(RuleBasedStateMachine):
    """Anything in any order, on a disk that works or not. Nothing is lost, and in the end everyone is answered."""

    DURABLE = False
    SIZES = (0, 1, 6, 9, 40)

    def __init__(self) -> None:
        super().__init__()
        self.state = StorageState(memory_limit_bytes=16, durable=self.DURABLE)
        self.now = 0.0
        self.requests = self.peers = self.files = 0
        self.users: dict[int, None] = {}
        self.orders: list[Spill | Restore] = []
        self.opens: list[Open] = []
        self.disk: dict[int, bytes] = {}
        self.written: set[bytes] = set()
        """The objects of which there ever was a copy."""
        self.transmissions: list[tuple[int, int]] = []
        self.puts: dict[tuple[int, int], list[bytes]] = {}
        """The parts that each has still to send."""
        self.unanswered: dict[tuple[int, int], bytes] = {}
        """Puts and gets, by what they are about."""
        self.paused: set[int] = set()
        for _ in range(3):
            self.connect()

    def connect(self) -> None:
        self.peers += 1
        self.users[self.peers] = None
        self.state.peer_connected(self.peers, Peer(Role.storage_user, self.peers.to_bytes(16, "big")), self.now)

    def say(self, peer: int, message: Any, attachment: bytes = b"") -> None:
        self.state.receive(peer, message, self.now, attachment)
        self.settle()

    def settle(self) -> None:
        self.state.check()
        for output in self.state.drain(self.now):
            if isinstance(output, Log):
                pass
            elif isinstance(output, Spill | Restore):
                self.orders.append(output)
            elif isinstance(output, Forget):
                del self.disk[output.key]
            elif isinstance(output, Open):
                self.opens.append(output)
            elif isinstance(output, Transmit):
                about = self.unanswered.pop((output.peer, output.request))
                assert bytes(output.content.view) == about[:1] * self.SIZES[about[0]]
                self.transmissions.append((output.peer, output.request))
            elif isinstance(output, Pause):
                self.paused.add(output.peer)
            elif isinstance(output, Resume):
                self.paused.remove(output.peer)
            elif isinstance(output, Mark) or getattr(output, "peer", None) not in self.users:
                assert self.DURABLE  # Only there is a peer answered that may have left meanwhile.
            elif isinstance(output, Send) and isinstance(output.message, Stored | StorageFailure):
                about = self.unanswered.pop((output.peer, output.message.request))
                if self.DURABLE and isinstance(output.message, Stored):
                    assert about in self.written
                self.puts.pop((output.peer, output.message.request), None)
            elif isinstance(output, Close):
                self.over(output.peer)
            else:
                assert isinstance(output, Send | StopTransmit)
        self.state.check()

    @rule(data=st.data(), number=st.integers(0, 4), cuts=st.integers(1, 3))
    def put(self, data: st.DataObject, number: int, cuts: int) -> None:
        peer = data.draw(st.sampled_from(list(self.users)))
        if peer in self.paused:
            return
        self.requests += 1
        whole = bytes([number]) * self.SIZES[number]
        step = max(1, -(-len(whole) // cuts))
        parts = [whole[start : start + step] for start in range(0, len(whole), step)] or [b""]
        self.unanswered[peer, self.requests] = self.name(number)
        self.puts[peer, self.requests] = parts
        self.send_part(peer, self.requests)

    def name(self, number: int) -> bytes:
        return bytes([number]) * 16

    def send_part(self, peer: int, request: int) -> None:
        parts, about = self.puts[peer, request], self.unanswered[peer, request]
        total = self.SIZES[about[0]]
        offset = total - sum(map(len, parts))
        part = parts.pop(0)
        if not parts:
            del self.puts[peer, request]
        self.say(peer, Put(request, about, ANN, total, offset), part)

    def ready(self) -> list[tuple[int, int]]:
        return [key for key in self.puts if key[0] not in self.paused]

    @precondition(lambda self: self.ready())
    @rule(data=st.data())
    def next_part(self, data: st.DataObject) -> None:
        self.send_part(*data.draw(st.sampled_from(self.ready())))

    @rule(data=st.data(), number=st.integers(1, 4))
    def put_shared(self, data: st.DataObject, number: int) -> None:
        peer = data.draw(st.sampled_from(list(self.users)))
        if peer not in self.paused:
            self.requests += 1
            self.unanswered[peer, self.requests] = self.name(number)
            total = self.SIZES[number]
            self.say(peer, Put(self.requests, self.name(number), ANN, total, 0, pieces(total)))

    @precondition(lambda self: self.opens)
    @rule(data=st.data(), there=st.booleans())
    def open_ends(self, data: st.DataObject, there: bool) -> None:
        """It may have parts of what other objects are in."""
        one = data.draw(st.sampled_from(self.opens))
        contents = [held.content for held in self.state._objects._held.values() if held.content is not None]
        others = sorted({file for found in contents for file in found.files})
        files = data.draw(st.lists(st.sampled_from(others), unique=True, max_size=2)) if others else []
        self.end_open(one, there, files)

    def end_open(self, one: Open, there: bool, files: list[tuple[str, int]]) -> None:
        self.opens.remove(one)
        about = self.unanswered.get((one.peer, one.request))
        self.files += 1
        mine = (f"file {self.files}", one.total_bytes + 1)
        view = memoryview(about[:1] * one.total_bytes) if about is not None else memoryview(b"")
        self.state.opened(one.peer, one.request, Content(view, object(), (*files, mine)) if there else None, "gone")
        self.settle()

    @rule(data=st.data(), number=st.integers(0, 4), shared=st.booleans())
    def get(self, data: st.DataObject, number: int, shared: bool) -> None:
        self.requests += 1
        peer = data.draw(st.sampled_from(list(self.users)))
        self.unanswered[peer, self.requests] = self.name(number)
        self.say(peer, Get(self.requests, self.name(number), shared))

    @rule(number=st.integers(0, 4))
    def release(self, number: int) -> None:
        self.say(next(iter(self.users)), Release(self.name(number), ANN))

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        peer, request = data.draw(st.sampled_from(list(self.unanswered)))
        gets = {key for user in self.state._users.values() for key in (*user.gets, *user.restores)}
        if request in gets:
            del self.unanswered[peer, request]
            self.say(peer, Abandon(request))

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), works=st.booleans())
    def moved(self, data: st.DataObject, works: bool) -> None:
        self.carry_out(data.draw(st.sampled_from(self.orders)), works)

    def carry_out(self, order: Spill | Restore, works: bool) -> None:
        self.orders.remove(order)
        if isinstance(order, Restore):
            if works:
                assert len(self.disk[order.key]) == order.size
                self.state.restored(order.key, Content(memoryview(self.disk[order.key])))
            else:
                self.state.restore_failed(order.key, "broken")
        elif works:
            self.disk[order.key] = bytes(order.content)
            self.written.add(order.name)
            self.state.spilled(order.key)
        else:
            self.state.spill_failed(order.key, "full", self.now)
        self.settle()

    @precondition(lambda self: self.transmissions)
    @rule(data=st.data())
    def transmitted(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from(self.transmissions))
        self.transmissions.remove(one)
        if self.state.transmitted(*one):
            self.settle()

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        peer = data.draw(st.sampled_from(list(self.users)))
        self.state.peer_lost(peer, "gone", self.now)
        self.over(peer)
        self.settle()

    def over(self, peer: int) -> None:
        """It is gone, and another one comes."""
        self.paused.discard(peer)
        del self.users[peer]
        self.puts = {key: parts for key, parts in self.puts.items() if key[0] != peer}
        self.unanswered = {key: about for key, about in self.unanswered.items() if key[0] != peer}
        self.connect()

    @rule(seconds=st.sampled_from([0.1, 1.0, 6.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.state.tick(self.now)
        self.settle()

    def teardown(self) -> None:
        """Once the disk works and everyone goes on, all that can be answered is, and the limit holds."""
        for _ in range(200):
            while self.orders:
                self.carry_out(self.orders[0], True)
            for opening in self.opens[:]:
                self.end_open(opening, True, [])
            for one in self.transmissions[:]:
                self.transmissions.remove(one)
                if self.state.transmitted(*one):
                    self.settle()
            if self.ready():
                self.next_part_of(self.ready()[0])
            elif not (self.orders or self.opens or self.transmissions) and not self.state._objects.admission._queue:
                break
            else:
                self.wait_a_little()
        numbers = self.state.snapshot()
        assert not self.puts and not self.paused and not numbers["waiting_puts"]
        held = self.state._objects._held
        assert all(about not in held for about in self.unanswered.values()), "gets of what is there are answered"
        self.wait_a_little()
        while self.orders:
            self.carry_out(self.orders[0], True)
        assert self.state.snapshot()["memory_bytes"] <= 16
        assert set(self.disk) <= {one.key for one in held.values()}, "nothing is left on disk that nobody owns"

    def next_part_of(self, key: tuple[int, int]) -> None:
        self.send_part(*key)

    def wait_a_little(self) -> None:
        self.now += 6
        self.state.tick(self.now)
        self.settle()


Storm.TestCase.settings = settings(max_examples=100, stateful_step_count=50, deadline=None, report_multiple_bugs=False)
TestStorm = Storm.TestCase


class DurableStorm(Storm):
    """The same, and nothing is answered before it is written."""

    DURABLE = True


DurableStorm.TestCase.settings = settings(Storm.TestCase.settings, max_examples=50)
TestDurableStorm = DurableStorm.TestCase
