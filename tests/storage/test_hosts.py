"""The center and the storages of hosts, state against state: who has what, and who gets it from whom."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.ids import OBJECT_ID_BYTES
from scaler.machine import Close, Peer, Send, Stop
from scaler.messages import (
    AdmitOwner,
    Get,
    GiveUp,
    Hold,
    LetGo,
    Locate,
    NotThere,
    Put,
    Release,
    ReleaseOwner,
    Role,
    Serve,
    StorageFailure,
    StorageFailureReason,
    Stored,
)
from scaler.storage.content import Content
from scaler.storage.outputs import Fetch, Forget, Restore, Spill, Transmit
from scaler.storage.places import MOST_MOVES, MOST_TRANSFERS
from scaler.storage.state import StorageState
from scaler.storage.upstream import NOBODY

ANN, BEN = b"A" * 16, b"B" * 16
X, Y = b"x" * 16, b"y" * 16
CENTER, USER, FETCHER, UP = 0, 1, 2, 3


class Net:
    """A center (0) and hosts (1, 2, …), each with a user. What they say to each other arrives in order and at once."""

    def __init__(self, hosts: int, limit: int = 0) -> None:
        self.states = [StorageState()]
        self.fetches: list[tuple[int, Fetch]] = []
        """Under way: who gets what from where."""
        self.answers: dict[tuple[int, int], object] = {}
        """What users were told, by storage and request."""
        self.contents: dict[bytes, bytes] = {}
        self.spilled: dict[tuple[int, int], bytes] = {}
        """What is on the disk of each storage, by key."""
        self.requests = 0
        self.last = 0, 0
        """The last get."""
        self.closed: list[str] = []
        self.left: list[int] = []
        """Hosts that have ended in order."""
        self._linked: dict[int, int] = {}
        """By host: its number as a peer of the center."""
        self._peers = 100
        for number in range(hosts):
            self.states.append(StorageState(memory_limit_bytes=limit, serves=f"tcp://h:{number + 1}"))
        for state in self.states:
            state.peer_connected(USER, Peer(Role.storage_user, b"u" * 16), 0)
            state.peer_connected(FETCHER, Peer(Role.storage_user, b"f" * 16), 0)
        for number in range(1, hosts + 1):
            self.link(number)

    def link(self, host: int) -> None:
        self._peers += 1
        self._linked[host] = self._peers
        self.states[CENTER].peer_connected(self._peers, Peer(Role.host_storage, bytes([host]) * 16), 0)
        self.states[host].peer_connected(UP, Peer(Role.host_storage, b"c" * 16), 0)
        self.run()

    def unlink(self, host: int) -> None:
        self.states[CENTER].peer_lost(self._linked.pop(host), "", 0)
        self.states[host].peer_lost(UP, "", 0)
        self.run()

    def run(self) -> None:
        """Until nothing is said any more."""
        busy = True
        while busy:
            busy = False
            for number, state in enumerate(self.states):
                for output in state.drain(0):
                    busy = True
                    self._carry(number, output)
                state.check()

    def _carry(self, number: int, output: object) -> None:
        if isinstance(output, Fetch):
            self.fetches.append((number, output))
        elif isinstance(output, Transmit):
            self.answers[number, output.request] = bytes(output.content.view)
            if output.counted:
                self.states[number].transmitted(output.peer, output.request)
        elif isinstance(output, Spill):
            self.spilled[number, output.key] = bytes(output.content)
            self.states[number].spilled(output.key)
        elif isinstance(output, Restore):
            self.states[number].restored(output.key, Content(memoryview(self.spilled[number, output.key])))
        elif isinstance(output, Forget):
            del self.spilled[number, output.key]
        elif isinstance(output, Close):
            self.closed.append(output.reason)
        elif isinstance(output, Stop):
            self.left.append(number)
        elif isinstance(output, Send):
            if output.peer == USER:
                self.answers[number, output.message.request] = output.message  # type: ignore[attr-defined]
            elif number == CENTER and output.peer in self._linked.values():
                (host,) = (host for host, peer in self._linked.items() if peer == output.peer)
                self.states[host].receive(UP, output.message, 0)
            elif number != CENTER and output.peer == UP and number in self._linked:
                self.states[CENTER].receive(self._linked[number], output.message, 0)

    def leave(self, host: int) -> None:
        assert self.states[host].leave()
        self.run()

    def say(self, number: int, message: object) -> object:
        """What a user says, and what it is answered, if that comes at once."""
        self.states[number].receive(USER, message, 0)
        self.run()
        return self.answers.get((number, self.requests))

    def put(self, number: int, name: bytes, content: bytes = b"content", owner: bytes = ANN) -> object:
        self.requests += 1
        self.contents[name] = content
        self.states[number].receive(USER, Put(self.requests, name, owner, len(content)), 0, content)
        self.run()
        return self.answers.get((number, self.requests))

    def get(self, number: int, name: bytes, existed: bool = True) -> object:
        self.requests += 1
        self.last = number, self.requests
        return self.say(number, Get(self.requests, name, False, existed))

    def has(self, number: int, name: bytes) -> bool:
        return name in self.states[number]._objects

    def fetch(self, place: int = 0, fails: bool = False) -> tuple[int, str]:
        """Carry out one of the fetches; returns who got it and from where."""
        number, fetch = self.fetches.pop(place)
        source = self.states[int(fetch.address.rpartition(":")[2])] if fetch.address else self.states[CENTER]
        if fails or fetch.name not in source._objects:
            self.states[number].fetch_failed(fetch.name)
        else:
            self.requests += 1
            content = self.contents[fetch.name]
            self.states[number].receive(FETCHER, Put(self.requests, fetch.name, NOBODY, len(content)), 0, content)
        self.run()
        return number, fetch.address

    def fetch_all(self) -> None:
        while self.fetches:
            self.fetch()


def reason(answer: object) -> StorageFailureReason:
    assert isinstance(answer, StorageFailure)
    return StorageFailureReason(answer.reason)


def test_an_object_goes_from_the_host_that_has_it_to_the_one_that_needs_it() -> None:
    net = Net(2)
    assert net.put(1, X) == Stored(1)
    assert not net.has(CENTER, X)
    assert net.get(2, X) is None
    assert net.fetch() == (2, "tcp://h:1")
    assert net.answers[2, 2] == b"content"
    assert net.get(2, X) == b"content" and not net.fetches, "now it is here"
    assert not net.has(CENTER, X)


def test_a_put_is_answered_when_the_center_knows() -> None:
    net = Net(1)
    net.unlink(1)
    assert net.put(1, X) is None
    net.link(1)
    assert net.answers[1, 1] == Stored(1)


def test_a_client_gets_it_from_the_center_which_fetches_it_once() -> None:
    net = Net(1)
    net.put(1, X)
    assert net.get(CENTER, X) is None and net.get(CENTER, X) is None
    assert net.fetches == [(CENTER, Fetch(X, "tcp://h:1"))]
    net.fetch()
    assert net.answers[CENTER, 2] == net.answers[CENTER, 3] == b"content"


def test_what_a_client_put_is_fetched_from_the_center_and_dropped_with_its_last_owner() -> None:
    net = Net(2)
    net.put(CENTER, X)
    net.get(1, X)
    assert net.fetch() == (1, "")
    net.get(2, X)
    net.fetch()
    counts = net.states[CENTER].snapshot()
    assert (counts["hosts"], counts["objects_on_hosts"], counts["transfers"]) == (2, 1, 2)
    net.say(CENTER, Release(X, ANN))
    assert not any(net.has(number, X) for number in range(3))
    assert reason(net.get(1, X)) == reason(net.get(CENTER, X)) == StorageFailureReason.freed


def test_what_a_host_made_is_dropped_with_its_owner() -> None:
    net = Net(2)
    net.put(1, X)
    net.put(1, Y, owner=BEN)
    net.say(CENTER, ReleaseOwner(ANN))
    assert not net.has(1, X) and net.has(1, Y)
    assert reason(net.put(1, b"z" * 16)) == StorageFailureReason.owner_gone and not net.has(1, b"z" * 16)


def test_a_get_of_the_center_takes_no_place_of_others_when_it_is_over() -> None:
    net = Net(4)
    net.put(1, X)
    net.get(CENTER, X)
    net.fetch_all()
    net.say(CENTER, Release(X, BEN))
    places = net.states[CENTER]._objects.places
    assert not places._requests and set(places._places[X].holders.values()) == {0}


def test_many_receivers_fan_out() -> None:
    net = Net(20)
    net.put(1, X)
    for host in range(2, 21):
        net.get(host, X)
    rounds = 0
    given: Counter[str] = Counter()
    while net.fetches:
        rounds += 1
        at_once = Counter(fetch.address for _, fetch in net.fetches)
        assert max(at_once.values()) <= MOST_TRANSFERS
        for _ in range(len(net.fetches)):
            given[net.fetch()[1]] += 1
    assert rounds <= 4 and sum(given.values()) == 19 and given["tcp://h:1"] <= 2 * rounds
    assert all(net.has(host, X) for host in range(1, 21))


def test_what_only_a_lost_host_had_is_lost_and_copies_are_not() -> None:
    net = Net(3)
    net.put(1, X)
    net.put(1, Y)
    net.get(2, Y)
    net.fetch()
    net.unlink(1)
    assert reason(net.get(CENTER, X)) == reason(net.get(2, X)) == StorageFailureReason.lost
    net.get(3, Y)
    assert net.fetch() == (3, "tcp://h:2")


@pytest.mark.parametrize("fails", [True, False])
def test_what_is_on_its_way_from_a_lost_host_is_lost_if_it_does_not_come(fails: bool) -> None:
    net = Net(3)
    net.put(1, X)
    net.get(2, X)
    getting = net.last
    net.unlink(1)
    assert net.get(3, X) is None
    waiting = net.last
    net.fetch(fails=fails)
    net.fetch_all()
    if fails:
        assert reason(net.answers[getting]) == reason(net.answers[waiting]) == StorageFailureReason.lost
    else:
        assert net.answers[getting] == net.answers[waiting] == b"content"


def test_what_was_freed_with_its_owner_is_lost_everywhere_when_that_one_is_back() -> None:
    net = Net(2)
    net.put(1, X)
    net.say(CENTER, ReleaseOwner(ANN))
    for host in (1, 2):
        net.get(host, X)
        assert reason(net.answers[net.last]) == StorageFailureReason.freed
    net.say(CENTER, AdmitOwner(ANN))
    for host in (1, 2):
        net.get(host, X)
        assert reason(net.answers[net.last]) == StorageFailureReason.lost
    net.put(1, X)
    net.get(2, X)
    net.fetch_all()
    assert net.answers[net.last] == b"content"


def test_a_host_that_comes_back_says_what_it_has() -> None:
    net = Net(2)
    net.put(1, X)
    net.put(1, Y, owner=BEN)
    net.unlink(1)
    net.say(CENTER, ReleaseOwner(BEN))
    net.link(1)
    net.get(2, X)
    assert net.fetch() == (2, "tcp://h:1")
    assert not net.has(1, Y), "its owner is gone"


def test_what_cannot_be_had_from_one_is_had_from_another_and_in_the_end_from_the_center() -> None:
    net = Net(3)
    net.put(1, X)
    net.get(2, X)
    net.fetch()
    net.get(3, X)
    assert {net.fetch(fails=True), net.fetch(fails=True)} == {(3, "tcp://h:1"), (3, "tcp://h:2")}
    assert net.fetch()[0] == CENTER
    assert net.fetch() == (3, "") and net.answers[net.last] == b"content"


def test_who_cannot_get_it_from_the_center_either_hears_that() -> None:
    net = Net(2)
    net.put(CENTER, X)
    net.get(1, X)
    net.fetch(fails=True)
    assert reason(net.answers[net.last]) == StorageFailureReason.lost
    assert net.get(CENTER, X) == b"content"


def test_what_nobody_can_get_from_a_host_is_lost_and_dropped_there() -> None:
    net = Net(2)
    net.put(1, X)
    net.get(2, X)
    net.fetch(fails=True)
    net.fetch(fails=True)
    assert reason(net.answers[net.last]) == StorageFailureReason.lost
    assert not net.has(1, X) and reason(net.get(CENTER, X)) == StorageFailureReason.lost


def test_a_get_of_what_will_exist_waits_wherever_it_is_made() -> None:
    net = Net(2)
    net.get(2, X, existed=False)
    net.get(CENTER, X, existed=False)
    net.get(1, Y, existed=False)
    net.put(1, X)
    net.put(CENTER, Y)
    net.fetch_all()
    assert net.answers[2, 1] == net.answers[1, 3] == b"content"


def test_copies_leave_when_memory_is_short_and_what_is_made_here_is_written() -> None:
    net = Net(2, limit=1000)
    names = [bytes([65 + number]) * 16 for number in range(20)]
    for name in names:
        net.put(1, name, bytes(100))
        assert net.has(1, name)
        net.get(2, name)
        net.fetch()
    assert all(net.has(1, name) for name in names)
    assert sum(net.has(2, name) for name in names) < 10
    net.get(2, names[0])
    assert net.fetch() == (2, "tcp://h:1") and net.answers[net.last] == bytes(100)


def test_who_gave_up_is_not_waited_for() -> None:
    net = Net(4)
    net.put(1, X)
    for host in (2, 3, 4):
        net.get(host, X)
    assert len(net.fetches) == MOST_TRANSFERS
    net.states[2].peer_lost(USER, "", 0)
    net.run()
    assert [number for number, _ in net.fetches] == [2, 3, 4], "4 has the place of 2"


@pytest.mark.parametrize(
    "message",
    [
        Serve("tcp://h:9"),
        Hold(1, X, b""),
        Locate(1, b"short"),
        Get(1, X),
    ],
)
def test_a_host_that_says_what_it_may_not_is_closed(message: object) -> None:
    net = Net(1)
    net.states[CENTER].receive(net._linked[1], message, 0)
    net.run()
    assert len(net.closed) == 1


def test_a_host_that_serves_nowhere_is_closed() -> None:
    net = Net(1)
    net.states[CENTER].peer_connected(99, Peer(Role.host_storage, b"h" * 16), 0)
    net.states[CENTER].receive(99, Serve("at home"), 0)
    net.run()
    assert len(net.closed) == 1 and "at home" in net.closed[0]


@pytest.mark.parametrize("message", [NotThere(5), GiveUp(5), LetGo(X)])
def test_what_is_over_is_passed_over(message: object) -> None:
    net = Net(1)
    net.states[CENTER].receive(net._linked[1], message, 0)
    net.run()
    assert net.closed == []


def test_a_host_that_is_to_go_leaves_what_only_it_has_at_the_center() -> None:
    net = Net(2)
    alone = [bytes([number]) * OBJECT_ID_BYTES for number in range(1, 11)]
    for name in alone:
        net.put(1, name, name)
    net.put(1, X)
    net.put(2, X)
    net.leave(1)
    assert len(net.fetches) == MOST_MOVES and net.left == []
    net.put(1, Y)
    net.fetch_all()
    assert net.left == [1]
    net.unlink(1)
    assert all(net.has(CENTER, name) for name in (*alone, Y)) and not net.has(CENTER, X)
    assert net.get(2, X) == b"content"


def test_a_host_that_has_nothing_may_go_at_once_and_one_without_a_center_does_not_wait_for_it() -> None:
    net = Net(2)
    net.leave(1)
    assert net.left == [1]
    net.unlink(2)
    assert not net.states[2].leave() and not net.states[CENTER].leave()


def test_of_two_that_are_to_go_none_relies_on_the_other() -> None:
    net = Net(2)
    net.put(1, X)
    net.put(2, X)
    net.leave(1)
    net.states[2].leave()
    net.run()
    assert net.left == [1], "the other one has it still"
    net.unlink(1)
    net.fetch_all()
    assert net.left == [1, 2] and net.has(CENTER, X)


def test_a_host_that_is_to_go_says_so_again_when_the_center_is_back() -> None:
    net = Net(1)
    net.put(1, X)
    net.leave(1)
    net.unlink(1)
    net.fetch(fails=True)
    net.link(1)
    net.fetch_all()
    assert net.left == [1]


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["put", "get", "get", "wait", "fetch", "fetch", "fail", "release", "unlink", "link", "leave"]),
        st.integers(0, 3),
        st.integers(0, 4),
    ),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(STEPS, st.sampled_from([0, 250]))
def test_whatever_happens_the_right_bytes_come_and_nothing_is_left(
    steps: list[tuple[str, int, int]], limit: int
) -> None:
    net = Net(3, limit)
    names = [bytes([97 + number]) * OBJECT_ID_BYTES for number in range(5)]
    asked: dict[tuple[int, int], bytes] = {}
    for what, number, which in steps:
        name = names[which]
        if what == "put":
            net.put(number, name, name * 6)
        elif what in ("get", "wait"):
            net.get(number, name, existed=what == "get")
            asked[number, net.requests] = name
        elif what in ("fetch", "fail") and net.fetches:
            net.fetch(which % len(net.fetches), what == "fail")
        elif what == "release":
            net.say(CENTER, Release(name, ANN))
        elif what == "unlink" and number in net._linked:
            net.unlink(number)
        elif what == "link" and number and number not in net._linked:
            net.link(number)
        elif what == "leave" and number in net._linked:
            net.leave(number)
    for number in range(1, 4):
        if number not in net._linked:
            net.link(number)
    net.fetch_all()
    for key, name in asked.items():
        answer = net.answers.get(key)
        if isinstance(answer, bytes):
            assert answer == name * 6
        elif answer is None:
            assert not net.states[CENTER]._objects.exists(name), "it is there, and the get waits"
    net.say(CENTER, ReleaseOwner(ANN))
    net.fetch_all()
    for number, state in enumerate(net.states):
        assert state.snapshot()["objects"] == 0, number
    assert net.closed == [] and not net.spilled
