"""Where objects are that hosts keep, and who gets which from whom. The center's side of ``protocol/host.capnp``.

An object is given from one place to a few others at a time only. Who has to wait gets it from one of those who got it before: so
the time for n receivers grows with log n, and no place is the bottleneck.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from scaler.ids import OBJECT_ID_BYTES
from scaler.machine import Outbox
from scaler.messages import Drop, Located, MayLeave, NotFound
from scaler.storage.outputs import Fetch

MOST_TRANSFERS = 2
"""How many get one object from one place at the same time."""
MOST_MOVES = 4
"""How many objects of one host that is about to go are on their way to the center at the same time."""
CENTER = -1
"""The center among the peers: as a place of objects, and as one that gets them."""

Key = tuple[int, int]
"""A peer and its request."""


@dataclass(slots=True)
class _Place:
    """Who has one object, and who is getting it."""

    holders: dict[int, int] = field(default_factory=dict)
    """By peer: how many are getting it from there."""
    transfers: dict[Key, int] = field(default_factory=dict)
    """Who is getting it, and from which holder."""
    waiting: deque[Key] = field(default_factory=deque)
    """Who has to wait for a holder that has time, or for the object to exist."""
    failed: dict[Key, set[int]] = field(default_factory=dict)
    """From whom it was not to be had."""


class Places:
    """By object id. ``not_found`` is told when the center wants what is nowhere, and whether that was freed."""

    def __init__(self, outbox: Outbox, not_found: Callable[[bytes, bool], None]) -> None:
        self.transfers = 0
        """How often somebody was told where to get an object."""
        self._outbox = outbox
        self._not_found = not_found
        self._places: dict[bytes, _Place] = {}
        self._addresses: dict[int, str] = {}
        self._requests: dict[Key, bytes] = {}
        """Of requests that were not answered for good: their objects."""
        self._of_host: dict[int, dict[bytes, None]] = {}
        self._leaving: dict[int, dict[bytes, None]] = {}
        """By host that is about to go: what may be nowhere else."""
        self._may_leave: set[int] = set()
        """Of these, those that were told that they may."""
        self._here: dict[bytes, int] = {}
        """What the center itself wants, and its request for it."""
        self._requests_here = 0

    def __contains__(self, name: bytes) -> bool:
        """Whether some host has it, or gets it, from one that may be gone."""
        place = self._places.get(name)
        return place is not None and (bool(place.transfers) or any(holder != CENTER for holder in place.holders))

    def knows(self, peer: int) -> bool:
        """Whether this host has said where it serves."""
        return peer in self._addresses

    def is_under_way(self, peer: int, request: int) -> bool:
        """Whether this request was made and not answered for good."""
        return (peer, request) in self._requests

    def is_wanted(self, name: bytes) -> bool:
        """Whether anybody waits to get it, or the center is getting it."""
        place = self._places.get(name)
        return place is not None and (bool(place.waiting) or name in self._here)

    def snapshot(self) -> dict[str, int]:
        """The numbers of ``Statistics`` that are known here."""
        names: set[bytes] = set()
        for held in self._of_host.values():
            names.update(held)
        return {"hosts": len(self._addresses), "objects_on_hosts": len(names), "transfers": self.transfers}

    # ---- told

    def serve(self, peer: int, address: str) -> None:
        """A host is there."""
        self._addresses[peer] = address
        self._of_host[peer] = {}

    def lose(self, peer: int) -> list[bytes]:
        """A host is gone, with all it held and asked for; returns the objects that are nowhere now."""
        asked = [key for key in self._requests if key[0] == peer]
        names = {self._requests[key]: None for key in asked} | self._of_host.pop(peer, {})
        there = [name for name in names if name in self]
        for name in names:
            self._leave(peer, name)
        for key in asked:
            self._end_request(key)
        self._addresses.pop(peer, None)
        self._leaving.pop(peer, None)
        self._may_leave.discard(peer)
        return [name for name in there if name not in self]

    def hold(self, peer: int, name: bytes) -> None:
        """This place has the object: a host, or the center. Others may get it there, and it wants it no more itself."""
        place = self._places.setdefault(name, _Place())
        place.holders.setdefault(peer, 0)
        if peer != CENTER:
            self._of_host[peer][name] = None
            if peer in self._leaving:
                self._leaving[peer][name] = None
        for key in [key for key in (*place.transfers, *place.waiting) if key[0] == peer]:
            self._end_request(key)
        self._serve_waiting(name)

    def leave(self, peer: int) -> None:
        """This host is about to go."""
        self._leaving[peer] = dict(self._of_host[peer])
        self._may_leave.discard(peer)

    def move_from_leaving(self, here: Container[bytes]) -> None:
        """Have the center get what only hosts have that are about to go. They may go when nothing is left.

        ``here`` is what the center has, also where nobody ever asked it for that.
        """
        for peer, names in self._leaving.items():
            moving, settled = 0, []
            for name in names:
                if name in here or not self._is_leaving(name):
                    settled.append(name)
                elif moving == MOST_MOVES:
                    break
                else:
                    moving += 1
                    self.want_here(name)
            for name in settled:
                del names[name]
            if not names and peer not in self._may_leave:
                self._may_leave.add(peer)
                self._outbox.send(peer, MayLeave())

    def let_go(self, peer: int, name: bytes) -> bool:
        """This place does not have it any more. Returns whether it is nowhere now."""
        was_there = name in self
        self._of_host.get(peer, {}).pop(name, None)
        self._leave(peer, name)
        return was_there and name not in self

    def want(self, peer: int, request: int, name: bytes) -> None:
        """Somebody wants to get an object, which exists or is waited for."""
        self._requests[peer, request] = name
        self._places.setdefault(name, _Place()).waiting.append((peer, request))
        self._serve_waiting(name)

    def want_here(self, name: bytes) -> None:
        """The center itself wants an object that some host has."""
        if name not in self._here:
            self._requests_here += 1
            self._here[name] = self._requests_here
            self.want(CENTER, self._requests_here, name)

    def failed_here(self, name: bytes) -> bytes | None:
        """As failed(), of what the center wanted itself."""
        return self.failed(CENTER, self._here.get(name, 0))

    def give_up(self, peer: int, request: int) -> bytes | None:
        """Somebody does not want any more what he wanted. Returns the object if it is nowhere now."""
        name = self._requests.get((peer, request), b"")
        was_there = name in self
        if name:
            self._end_request((peer, request))
        return name if was_there and name not in self else None

    def failed(self, peer: int, request: int) -> bytes | None:
        """It was not to be had where that was told, and is had elsewhere: in the end by the center, which gives it on.

        Who does not give it to the center is no place of it. Returns the object if it is nowhere now. Requests that are over
        are passed over.
        """
        key, name = (peer, request), self._requests.get((peer, request), b"")
        place = self._places.get(name)
        holder = None if place is None else place.transfers.pop(key, None)
        if place is None or holder is None:
            return None
        place.waiting.appendleft(key)
        place.failed.setdefault(key, set()).add(holder)
        if holder in place.holders:
            place.holders[holder] -= 1
            if peer == CENTER:
                self._outbox.send(holder, Drop(name))
                self.let_go(holder, name)
            elif holder == CENTER:
                self._give_in(key)
            elif place.failed[key].issuperset(place.holders):
                self.want_here(name)
        if name in self or CENTER in place.holders:
            self._serve_waiting(name)
            return None
        return name

    def _give_in(self, key: Key) -> None:
        """Who cannot get it from the center cannot get it."""
        self._end_request(key)
        self._outbox.send(key[0], NotFound(key[1], False))

    def forget(self, name: bytes, freed: bool) -> None:
        """The object is freed, or lost: those who have it drop it, and those who want it hear of that."""
        place = self._places.get(name)
        if place is None:
            return
        for holder in list(place.holders):
            if holder != CENTER:
                self._outbox.send(holder, Drop(name))
                self._of_host[holder].pop(name, None)
        del self._places[name]
        for key in (*place.transfers, *place.waiting):
            del self._requests[key]
            if key[0] == CENTER:
                del self._here[name]
                self._not_found(name, freed)
            else:
                self._outbox.send(key[0], NotFound(key[1], freed))

    # ---- inside

    def _is_leaving(self, name: bytes) -> bool:
        """Whether no other host has it than those that are about to go."""
        place = self._places.get(name)
        return place is not None and bool(place.holders) and place.holders.keys() <= self._leaving.keys()

    def _leave(self, holder: int, name: bytes) -> None:
        """Who is getting it there may still be lucky, and says how it ended."""
        place = self._places.get(name)
        if place is not None and place.holders.pop(holder, None) is not None:
            self._forget_empty(name)

    def _end_request(self, key: Key) -> None:
        """It is over, and so is its transfer."""
        name = self._requests.pop(key)
        if key[0] == CENTER:
            del self._here[name]
        place = self._places[name]
        place.failed.pop(key, None)
        holder = place.transfers.pop(key, None)
        if holder is None:
            place.waiting.remove(key)
        elif holder in place.holders:
            place.holders[holder] -= 1
            self._serve_waiting(name)
        self._forget_empty(name)

    def _forget_empty(self, name: bytes) -> None:
        place = self._places.get(name)
        if place is not None and not (place.holders or place.transfers or place.waiting):
            del self._places[name]

    def _serve_waiting(self, name: bytes) -> None:
        """Tell those who wait for an object where it is, as far as somebody has time."""
        place = self._places.get(name)
        if place is None:
            return
        for key in list(place.waiting):
            idle = [holder for holder, count in place.holders.items() if count < MOST_TRANSFERS]
            if not idle:
                return
            able = [holder for holder in idle if holder not in place.failed.get(key, ())]
            if able:
                self._give(name, key, min(able, key=place.holders.__getitem__))

    def _give(self, name: bytes, key: Key, holder: int) -> None:
        """Have this request be answered by this place."""
        place = self._places[name]
        place.waiting.remove(key)
        place.holders[holder] += 1
        place.transfers[key] = holder
        self.transfers += 1
        address = self._addresses.get(holder, "")
        if key[0] == CENTER:
            self._outbox.add(Fetch(name, address))
        else:
            self._outbox.send(key[0], Located(key[1], address))

    # ---- doubted

    def names(self) -> set[bytes]:
        """The objects that are somewhere, but perhaps in the center too."""
        return {name for name in self._places if name in self}

    def check(self) -> None:
        """Recompute every derived fact. Raises AssertionError where it differs."""
        requests: dict[Key, bytes] = {}
        for name, place in self._places.items():
            assert place.holders or place.transfers or place.waiting
            assert len(name) == OBJECT_ID_BYTES
            for holder, count in place.holders.items():
                assert count == sum(used == holder for used in place.transfers.values()) <= MOST_TRANSFERS
                assert holder == CENTER or name in self._of_host[holder]
            idle = {holder for holder, count in place.holders.items() if count < MOST_TRANSFERS}
            assert all(idle <= place.failed.get(key, set()) for key in place.waiting)
            assert place.failed.keys() <= {*place.transfers, *place.waiting}
            requests |= dict.fromkeys((*place.transfers, *place.waiting), name)
        assert requests == self._requests
        assert self._here == {name: key[1] for key, name in requests.items() if key[0] == CENTER}
        assert self._may_leave <= self._leaving.keys() <= self._addresses.keys()
        for peer, names in self._of_host.items():
            assert peer in self._addresses and all(peer in self._places[name].holders for name in names)


def each_name(names: bytes) -> Iterator[bytes]:
    """Object ids that stand one after the other."""
    return (names[i : i + OBJECT_ID_BYTES] for i in range(0, len(names), OBJECT_ID_BYTES))
