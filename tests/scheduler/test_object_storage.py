"""What the object storage is told, and told again where a connection may have lost it."""

from __future__ import annotations

from scaler.machine import Output
from scaler.messages import AdmitOwner, ClientGoodbye, Release, ReleaseOwner, Role, Statistics, StatisticsRequest

from .builders import ANN, Rig, sent

NAMES = [bytes([n]) * 16 for n in range(4)]


def come(rig: Rig) -> tuple[int, list[object]]:
    """A storage is connected; it, and what it is told at once."""
    peer, outputs = rig.connect(Role.storage_user, b"S" * 16)
    return peer, told(outputs, peer)


def told(outputs: list[Output], peer: int) -> list[object]:
    return [message for receiver, message in sent(outputs) if receiver == peer]


def free(rig: Rig, *names: bytes) -> list[Output]:
    """Nobody will fetch these results."""
    rig.state.board.released_objects += [(name, ANN) for name in names]
    return rig.after()


def test_what_is_freed_in_one_turn_is_one_message() -> None:
    rig = Rig()
    storage, _ = come(rig)
    assert told(free(rig, *NAMES), storage) == [Release(b"".join(NAMES), ANN)]


def test_what_a_broken_connection_may_have_lost_is_said_again() -> None:
    rig = Rig()
    storage, _ = come(rig)
    free(rig, NAMES[0])
    rig.lose(storage)
    free(rig, NAMES[1])
    storage, first = come(rig)
    assert first == [Release(NAMES[0] + NAMES[1], ANN)]
    rig.lose(storage)
    assert come(rig)[1] == first, "nor is it known that it has heard this"


def test_what_it_has_heard_is_not_said_again() -> None:
    rig = Rig()
    storage, _ = come(rig)
    free(rig, NAMES[0])
    assert told(rig.at(rig.now + 1), storage) == [StatisticsRequest(1)], "its answer shows what it has read"
    free(rig, NAMES[1])
    rig.say(storage, Statistics(1))
    assert told(rig.at(rig.now + 1), storage) == [StatisticsRequest(2)]
    free(rig, NAMES[2])
    rig.lose(storage)
    storage, first = come(rig)
    assert first == [Release(NAMES[1] + NAMES[2], ANN)]
    rig.at(rig.now + 1)
    rig.say(storage, Statistics(3))
    assert told(rig.at(rig.now + 1), storage) == [], "there is nothing to ask for"
    rig.lose(storage)
    assert come(rig)[1] == []


def test_an_answer_to_an_earlier_request_says_nothing_of_what_came_after_it() -> None:
    rig = Rig()
    storage, _ = come(rig)
    free(rig, NAMES[0])
    rig.at(rig.now + 1)
    free(rig, NAMES[1])
    rig.at(rig.now + 1)
    rig.say(storage, Statistics(1))
    rig.lose(storage)
    assert come(rig)[1] == [Release(NAMES[1], ANN)]


def test_of_owners_the_last_word_is_said_again() -> None:
    rig = Rig()
    storage, _ = come(rig)
    ann = rig.client()
    free(rig, NAMES[0])
    assert told(ann.say(ClientGoodbye()), storage) == [ReleaseOwner(ANN)]
    rig.lose(storage)
    storage, first = come(rig)
    assert first == [ReleaseOwner(ANN)], "with all that it has"
    rig.client()
    free(rig, NAMES[1])
    rig.lose(storage)
    assert come(rig)[1] == [Release(NAMES[1], ANN), AdmitOwner(ANN)]
