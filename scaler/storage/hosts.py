"""Who may say what between the object storage of a host and the center: both sides of ``protocol/host.capnp``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from scaler.ids import OBJECT_ID_BYTES, Address
from scaler.machine import Outbox, Stop
from scaler.messages import (
    Drop,
    GiveUp,
    Hold,
    Holding,
    HostLeaving,
    LetGo,
    Locate,
    Located,
    MayLeave,
    Message,
    NotFound,
    NotThere,
    Serve,
)
from scaler.storage.gets import Gets
from scaler.storage.objects import Objects
from scaler.storage.outputs import Fetch
from scaler.storage.places import CENTER, each_name
from scaler.storage.puts import Puts
from scaler.storage.requests import check_id
from scaler.storage.uploads import WrongMessageError
from scaler.storage.upstream import NOBODY


class Hosts:
    """What the center hears from the storages of hosts."""

    def __init__(self, objects: Objects, gets: Gets, outbox: Outbox) -> None:
        self._objects = objects
        self._gets = gets
        self._places = objects.places
        self._outbox = outbox
        self._handlers: dict[type, Callable[[int, Any], None]] = {
            Hold: self._hold,
            LetGo: self._let_go,
            Locate: self._locate,
            NotThere: self._not_there,
            GiveUp: self._give_up,
            HostLeaving: self._leaving,
        }

    def receive(self, peer: int, message: Message) -> None:
        """Raises WrongMessageError."""
        if isinstance(message, Serve) and not self._places.knows(peer):
            self._serve(peer, message)
            return
        handler = self._handlers.get(type(message))
        if handler is None or not self._places.knows(peer):
            raise WrongMessageError(f"{type(message).__name__} is no message of the storage of a host here")
        handler(peer, message)

    def lost(self, peer: int) -> None:
        """What only this host had is lost."""
        for name in self._places.lose(peer):
            self._objects.lose(name)

    def _serve(self, peer: int, message: Serve) -> None:
        try:
            Address.parse(message.address)
        except ValueError as error:
            raise WrongMessageError(str(error)) from None
        self._places.serve(peer, message.address)

    def _hold(self, peer: int, message: Hold) -> None:
        names = message.objects
        if len(names) != len(message.owners) or len(names) % OBJECT_ID_BYTES:
            raise WrongMessageError("columns of different lengths")
        refused = b""
        for at in range(0, len(names), OBJECT_ID_BYTES):
            name, owner = names[at : at + OBJECT_ID_BYTES], message.owners[at : at + OBJECT_ID_BYTES]
            ownerless = owner == NOBODY and not self._objects.is_owned(name)
            if ownerless or name in self._objects.freed or owner in self._objects.owners.gone:
                refused += name
            else:
                self._places.hold(peer, name)
                if owner != NOBODY:
                    self._objects.own(name, owner)
                if self._gets.waits_for(name):
                    self._places.want_here(name)
        self._outbox.send(peer, Holding(message.request, refused))

    def _let_go(self, peer: int, message: LetGo) -> None:
        for name in each_name(message.objects):
            if self._places.let_go(peer, name):
                self._objects.lose(name)

    def _locate(self, peer: int, message: Locate) -> None:
        check_id("object id", message.object, OBJECT_ID_BYTES)
        if self._places.is_under_way(peer, message.request):
            raise WrongMessageError(f"request {message.request} is under way already")
        if message.object in self._objects:
            self._places.hold(CENTER, message.object)
        elif message.object in self._objects.freed:
            self._outbox.send(peer, NotFound(message.request, True))
            return
        elif message.existed and message.object not in self._places:
            self._outbox.send(peer, NotFound(message.request, False))
            return
        self._places.want(peer, message.request, message.object)

    def _not_there(self, peer: int, message: NotThere) -> None:
        self.failed(self._places.failed(peer, message.request))

    def failed(self, name: bytes | None) -> None:
        """An object that is nowhere any more, if there is one."""
        if name is not None:
            self._objects.lose(name)

    def _give_up(self, peer: int, message: GiveUp) -> None:
        self.failed(self._places.give_up(peer, message.request))

    def _leaving(self, peer: int, message: HostLeaving) -> None:
        self._places.leave(peer)


class Center:
    """What the storage of a host hears from the center."""

    def __init__(self, objects: Objects, gets: Gets, puts: Puts, outbox: Outbox) -> None:
        assert objects.upstream is not None
        self._upstream = objects.upstream
        self._objects = objects
        self._gets = gets
        self._puts = puts
        self._outbox = outbox

    def receive(self, message: Message) -> None:
        """Raises WrongMessageError."""
        if isinstance(message, Holding):
            self._holding(message)
        elif isinstance(message, Drop):
            for name in each_name(message.objects):
                self._objects.drop(name)
        elif isinstance(message, Located):
            wanted = self._upstream.wanted(message.request)
            if wanted is not None:
                self._outbox.add(Fetch(wanted, message.address))
        elif isinstance(message, NotFound):
            wanted = self._upstream.wanted(message.request)
            if wanted is not None:
                self._upstream.not_found(wanted)
                self._gets.not_found(wanted, message.freed)
        elif isinstance(message, MayLeave):
            self._outbox.add(Stop("what only this host had is at the center"))
        else:
            raise WrongMessageError(f"{type(message).__name__} is no message of the center")

    def _holding(self, message: Holding) -> None:
        refused = set(each_name(message.refused))
        for name in self._upstream.held(message.request):
            if name in refused:
                self._puts.refused_by_center(name)
            else:
                self._puts.known_to_center(name)
