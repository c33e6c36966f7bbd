"""What the object storage of one host says to the center, and hears of it. The host's side of ``protocol/host.capnp``."""

from __future__ import annotations

from scaler.ids import OBJECT_ID_BYTES
from scaler.machine import Outbox
from scaler.messages import GiveUp, Hold, HostLeaving, LetGo, Locate, NotThere, Serve

NOBODY = bytes(OBJECT_ID_BYTES)
"""The owner of copies. In the storage of a host everything is its: who owns an object is the center's business."""


class Upstream:
    """Objects of this host as the center knows them. ``address`` is where others get them."""

    def __init__(self, outbox: Outbox, address: str) -> None:
        self.address = address
        self.peer: int | None = None
        """The connection to the center, while there is one."""
        self._outbox = outbox
        self._objects: dict[bytes, dict[bytes, None]] = {}
        """What is here, and whose it is."""
        self._unsaid: dict[bytes, None] = {}
        """Of these, what the center was not told of."""
        self._gone: list[bytes] = []
        """What the center thinks is here, and is not."""
        self._said: dict[int, list[bytes]] = {}
        """What the center was told, and has not answered, by request."""
        self._wanted: dict[bytes, tuple[int, bool]] = {}
        """What others have: the request for it, and whether it existed."""
        self._located: dict[int, bytes] = {}
        """By request: what is wanted."""
        self._requests = 0
        self._leaving = False
        self._leaving_said = False

    # ---- told

    def connected(self, peer: int) -> None:
        """The center is there, or another one: it is told all."""
        self.peer = peer
        self._said.clear()
        self._gone.clear()
        self._leaving_said = False
        self._outbox.send(peer, Serve(self.address))
        self._unsaid = dict.fromkeys(self._objects)
        for name, (_, existed) in list(self._wanted.items()):
            self._locate(name, existed)

    def lost(self) -> None:
        """The center is away."""
        self.peer = None

    def leave(self) -> None:
        """This host is about to go: the center is to take what is nowhere else."""
        self._leaving = True

    def add(self, name: bytes, owner: bytes) -> None:
        """An object is here now."""
        self._take_wanted(name)
        self._objects[name] = {owner: None}
        self._unsaid[name] = None

    def own(self, name: bytes, owner: bytes) -> None:
        """Somebody put once more what is here."""
        owners = self._objects[name]
        owners.pop(NOBODY, None)
        owners[owner] = None
        self._unsaid[name] = None

    def remove(self, name: bytes) -> None:
        """An object is here no more."""
        if self._objects.pop(name, None) is not None and name not in self._unsaid:
            self._gone.append(name)
        self._unsaid.pop(name, None)

    def want(self, name: bytes, existed: bool) -> None:
        """Somebody here wants what is not here."""
        known = self._wanted.get(name)
        if known is None:
            self._locate(name, existed)
        elif existed and not known[1]:
            self.unwant(name)
            self._locate(name, existed)

    def unwant(self, name: bytes) -> None:
        """Nobody here wants it any more."""
        request = self._take_wanted(name)
        if request and self.peer is not None:
            self._outbox.send(self.peer, GiveUp(request))

    def not_found(self, name: bytes) -> None:
        """The center says that it is nowhere."""
        self._take_wanted(name)

    def dropped(self, name: bytes) -> None:
        """The center knows that it is not here any more."""
        self._objects.pop(name, None)
        self._unsaid.pop(name, None)

    def fetch_failed(self, name: bytes) -> None:
        """It was not to be had where the center said."""
        if self.peer is not None and name in self._wanted:
            self._outbox.send(self.peer, NotThere(self._wanted[name][0]))

    # ---- asked

    def is_copy(self, name: bytes) -> bool:
        """Whether others have it, too."""
        return NOBODY in self._objects.get(name, ())

    def wanted(self, request: int) -> bytes | None:
        """The object of this request, if it is wanted still."""
        return self._located.get(request)

    def held(self, request: int) -> list[bytes]:
        """The center has answered for these objects."""
        return self._said.pop(request, [])

    def speak(self) -> None:
        """Tell the center what is new."""
        if self.peer is None:
            return
        if self._gone:
            self._outbox.send(self.peer, LetGo(b"".join(self._gone)))
            self._gone.clear()
        if self._unsaid:
            rows = [(name, owner) for name in self._unsaid for owner in self._objects[name]]
            names, owners = (b"".join(column) for column in zip(*rows, strict=True))
            self._requests += 1
            self._said[self._requests], self._unsaid = list(self._unsaid), {}
            self._outbox.send(self.peer, Hold(self._requests, names, owners))
        if self._leaving and not self._leaving_said:
            self._leaving_said = True
            self._outbox.send(self.peer, HostLeaving())

    def _locate(self, name: bytes, existed: bool) -> None:
        self._take_wanted(name)
        self._requests += 1
        self._wanted[name] = self._requests, existed
        self._located[self._requests] = name
        if self.peer is not None:
            self._outbox.send(self.peer, Locate(self._requests, name, existed))

    def _take_wanted(self, name: bytes) -> int:
        """It is not wanted any more, or under another number; the request for it, 0 if there was none."""
        request, _ = self._wanted.pop(name, (0, False))
        self._located.pop(request, None)
        return request

    # ---- doubted

    def check(self, names: set[bytes]) -> None:
        """Raises AssertionError unless exactly these objects are known to be here."""
        assert self._objects.keys() == names
        assert self._unsaid.keys() <= names
        assert self._wanted.keys().isdisjoint(names)
        assert self._located == {request: name for name, (request, _) in self._wanted.items()}
