"""Puts, and the room that they need: whoever finds none waits, and is not read from meanwhile."""

from __future__ import annotations

from collections.abc import Callable

from scaler.ids import IDENTITY_BYTES, OBJECT_ID_BYTES
from scaler.machine import Outbox, Pause, Resume
from scaler.messages import Put, PutWaits, StorageFailure, StorageFailureReason, Stored
from scaler.storage.admission import STALL_SECONDS, Verdict
from scaler.storage.content import SHARED_BYTES, Content, Room
from scaler.storage.objects import Objects
from scaler.storage.outputs import Open
from scaler.storage.requests import Index, Key, User, check_id, failure, remove
from scaler.storage.residency import Held
from scaler.storage.uploads import Upload, WrongMessageError
from scaler.storage.upstream import NOBODY

REMEMBERED_ANSWERED = 4_096
MOST_OBJECTS = 10_000_000
"""What is known of an object takes memory as well, however small it is."""


class Puts:
    """The puts of these users into these objects.

    ``arrived`` is told of each object that is new, ``close`` of a peer that has to go and why. ``allocate`` makes memory for
    large objects.
    """

    def __init__(
        self,
        users: dict[int, User],
        objects: Objects,
        outbox: Outbox,
        max_object_bytes: int,
        durable: bool,
        allocate: Callable[[int], Room],
        arrived: Callable[[bytes, Held], None],
        close: Callable[[int, str], None],
    ) -> None:
        self.count = self.saved_count = 0
        self._users = users
        self._objects = objects
        self._admission = objects.admission
        self._outbox = outbox
        self._max_object_bytes = max_object_bytes
        self._durable = durable
        self._allocate = allocate
        self._arrived = arrived
        self._close = close
        self._uploads: Index = {}
        self._asked: list[Upload] = []
        """Those that found no room since the last decision."""
        self._unsaved: dict[int, list[tuple[int, Stored]]] = {}
        """What the peers are told when a copy is written, by its key. Only where objects are durable."""

    def put(self, peer: int, user: User, put: Put, attachment: bytes | bytearray, now: float) -> None:
        """Raises WrongMessageError."""
        if put.pieces:
            self._put_shared(peer, user, put, len(attachment), now)
            return
        if len(attachment) == put.total_bytes < SHARED_BYTES and self._put_whole(peer, user, put, attachment):
            return
        upload = user.uploads.get(put.request) or user.answered.get(put.request)
        if upload is None:
            upload = self._begin(peer, user, put, len(attachment), now)
        else:
            upload.check_part(put, len(attachment))
        if put.request in user.answered:
            upload.received_bytes += len(attachment)
            if upload.is_complete:
                del user.answered[put.request]
            return
        upload.touched = now
        try:
            upload.take(attachment, self._allocate)
            if upload.is_complete and upload.admitted:
                self._complete(upload, upload.content())
        except OSError as error:
            self._refuse_for_memory(upload, error)

    def _put_whole(self, peer: int, user: User, put: Put, content: bytes | bytearray) -> bool:
        """The short way for an object in one part that is new and finds room. False: it has to go the long way."""
        if (
            put.object in self._objects
            or put.owner in self._objects.owners.gone
            or self._objects.count >= MOST_OBJECTS
            or self._is_copy_of_nothing(put.object, put.owner)
            or put.total_bytes > self._max_object_bytes
            or put.offset
            or len(put.object) != OBJECT_ID_BYTES
            or len(put.owner) != IDENTITY_BYTES
            or not self._admission.fits(put.total_bytes)
        ):
            return False
        user.check_unused(put.request)
        self._store(peer, put.request, put.object, put.owner, Content(memoryview(content).toreadonly()))
        return True

    def _put_shared(self, peer: int, user: User, put: Put, attachment_bytes: int, now: float) -> None:
        """All bytes at once, in shared memory: they are there already, and become the storage's when there is room."""
        if attachment_bytes or put.offset or not put.total_bytes == sum(piece.bytes for piece in put.pieces) > 0:
            raise WrongMessageError(
                f"put {put.request} has pieces that are not the whole object, or an attachment besides"
            )
        upload = self._begin(peer, user, put, put.total_bytes, now)
        if upload.admitted:
            self._open(upload)

    def _begin(self, peer: int, user: User, put: Put, attachment_bytes: int, now: float) -> Upload:
        """Enter the first part of a put, and answer it if its bytes are not needed."""
        check_id("object id", put.object, OBJECT_ID_BYTES)
        check_id("owner", put.owner, IDENTITY_BYTES)
        user.check_unused(put.request)
        upload = Upload(peer, put.request, put.object, put.owner, put.total_bytes, put.pieces)
        upload.check_part(put, attachment_bytes)
        if put.pieces:
            upload.received_bytes = put.total_bytes
        user.uploads[put.request] = upload
        self._uploads.setdefault(put.object, {})[peer, put.request] = None
        if put.total_bytes > self._max_object_bytes:
            text = f"the object has {put.total_bytes} bytes; this storage takes at most {self._max_object_bytes}"
            self._refuse(upload, StorageFailureReason.too_large, text)
        elif put.owner in self._objects.owners.gone:
            self._refuse_owner(upload)
        elif self._is_copy_of_nothing(put.object, put.owner):
            reason = StorageFailureReason.freed
            self._refuse(upload, reason, failure(put.request, reason, put.object).text)
        elif put.object in self._objects:
            self._save(upload)
        elif self._objects.count >= MOST_OBJECTS:
            text = f"there are {MOST_OBJECTS} objects here already, of whatever size; free some"
            self._refuse(upload, StorageFailureReason.full, text)
        elif not self._admission.ask(upload, now):
            self._asked.append(upload)
        return upload

    def _open(self, upload: Upload) -> None:
        self._outbox.add(Open(upload.peer, upload.request, upload.total_bytes, upload.pieces))

    def opened(self, peer: int, request: int, content: Content | None, why: str) -> None:
        """How an ``Open`` ended."""
        user = self._users.get(peer)
        upload = user.uploads.get(request) if user is not None else None
        if upload is None:  # The same object came another way, or the owner went.
            return
        if content is None:
            text = f"the object cannot be read from shared memory: {why}"
            self._refuse(upload, StorageFailureReason.not_shared, text)
        else:
            self._complete(upload, content)

    def _complete(self, upload: Upload, content: Content) -> None:
        """All bytes of an object are here."""
        self._forget_upload(upload)
        self._store(upload.peer, upload.request, upload.object, upload.owner, content)

    def _store(self, peer: int, request: int, name: bytes, owner: bytes, content: Content) -> None:
        """A new object: whoever puts or waits for the same one is answered too."""
        if self._is_copy_of_nothing(name, owner):
            self._outbox.send(peer, failure(request, StorageFailureReason.freed, name))
            return
        held = self._objects.add(name, content, owner)
        self.count += 1
        if self._durable:
            self._unsaved[held.key] = []
        elif owner != NOBODY:
            self._await_center(held)
        self.answer(peer, Stored(request, False), name)
        for other, other_request in tuple(self._uploads.get(name, ())):
            self._save(self._users[other].uploads[other_request])
        self._arrived(name, held)

    def _is_copy_of_nothing(self, name: bytes, owner: bytes) -> bool:
        """Whether this is a copy, for the center, of an object that nobody owns any more."""
        return owner == NOBODY and self._objects.upstream is None and not self._objects.is_owned(name)

    # ---- answers

    def _save(self, upload: Upload) -> None:
        """The object is there without this put."""
        self._answer_upload(upload)
        if upload.owner != NOBODY:
            self._objects.own(upload.object, upload.owner)
            self._await_center(self._objects.get(upload.object))
        self.count += 1
        self.saved_count += 1
        self.answer(upload.peer, Stored(upload.request, True), upload.object)

    def answer(self, peer: int, stored: Stored, name: bytes) -> None:
        """Now, or when the object is where it outlives this server."""
        if self._unsaved:
            held = self._objects.get(name)
            if held is not None and held.key in self._unsaved:
                self._unsaved[held.key].append((peer, stored))
                return
        self._outbox.send(peer, stored)

    def spilled(self, key: int) -> None:
        """A copy was written."""
        held = self._objects.spilled(key)
        if self._durable:
            self._answer_saved(key)
        self._objects.dispose(held)

    def _await_center(self, held: Held | None) -> None:
        """On a host, answers for this object wait until the center knows of it."""
        if held is not None and self._objects.upstream is not None:
            self._unsaved.setdefault(held.key, [])

    def _answer_saved(self, key: int) -> None:
        for peer, stored in self._unsaved.pop(key, ()):
            self._outbox.send(peer, stored)

    def known_to_center(self, name: bytes) -> None:
        """The center can find this object here now."""
        held = self._objects.get(name)
        if held is not None:
            self._answer_saved(held.key)

    def refused_by_center(self, name: bytes) -> None:
        """Nobody owns this object any more."""
        held = self._objects.get(name)
        if held is None:
            return
        for peer, stored in self._unsaved.pop(held.key, ()):
            self._outbox.send(peer, failure(stored.request, StorageFailureReason.owner_gone, name))
        self._objects.drop(name)

    def spill_failed(self, key: int, text: str, now: float) -> None:
        """A copy could not be written."""
        held = self._objects.spill_failed(key, text, now)
        unsaved = self._unsaved.pop(key, None) if self._durable else None
        for peer, stored in unsaved or ():
            why = StorageFailure(stored.request, StorageFailureReason.full, f"cannot keep it: {text}")
            self._outbox.send(peer, why)
        if unsaved is not None and not held.gone:
            self._objects.withdraw(held)
        else:
            self._objects.dispose(held)

    def refuse_owner(self, owner: bytes) -> None:
        """It was released: its puts under way fail."""
        for user in self._users.values():
            for upload in [upload for upload in user.uploads.values() if upload.owner == owner]:
                self._refuse_owner(upload)

    def _refuse_owner(self, upload: Upload) -> None:
        reason = StorageFailureReason.owner_gone
        self._refuse(upload, reason, failure(upload.request, reason, upload.owner).text)

    def _refuse_for_memory(self, upload: Upload, error: OSError) -> None:
        text = f"there is no memory for an object of {upload.total_bytes} bytes: {error.strerror or error}"
        self._refuse(upload, StorageFailureReason.full, text)

    def _refuse(self, upload: Upload, reason: StorageFailureReason, text: str) -> None:
        self._answer_upload(upload)
        self._outbox.send(upload.peer, StorageFailure(upload.request, reason, text))

    def _answer_upload(self, upload: Upload) -> None:
        """From here on the parts of this put are passed over, up to the last."""
        self._forget_upload(upload)
        self._pause_or_resume(upload.peer)
        upload.drop_content()
        if upload.is_complete:
            return
        answered = self._users[upload.peer].answered
        answered[upload.request] = upload
        # A dialer need not send the parts that are left, so some of these never end.
        if len(answered) > REMEMBERED_ANSWERED:
            answered.popitem(last=False)

    def forget(self, user: User) -> None:
        """A user is gone, and all its unfinished puts."""
        for upload in tuple(user.uploads.values()):
            self._forget_upload(upload)

    def _forget_upload(self, upload: Upload) -> None:
        del self._users[upload.peer].uploads[upload.request]
        remove(self._uploads, upload.object, (upload.peer, upload.request))
        self._admission.end(upload)

    # ---- room

    def make_room(self, now: float) -> None:
        """Spill what has to be, and decide about those that wait for room."""
        if self._admission.idle:
            return
        for upload in self._admission.stalled(now):
            if upload.peer in self._users:
                text = f"put {upload.request} brought nothing for {STALL_SECONDS:.0f} s, and others wait for its room"
                self._close(upload.peer, text)
        self._objects.spill(now)
        while (verdict := self._admission.next(now)) is not None:
            self._carry(verdict)
            self._objects.spill(now)
        for upload in self._asked + self._admission.to_reassure(now):
            if self._admission.has_in_line(upload):
                self._outbox.send(upload.peer, PutWaits(upload.request))
                self._pause_or_resume(upload.peer)
        self._asked.clear()

    def _carry(self, verdict: Verdict) -> None:
        who = verdict.who
        if isinstance(who, Held):
            self._objects.restore(who)
        elif verdict.refusal:
            self._refuse(who, StorageFailureReason.full, verdict.refusal)
        else:
            self._pause_or_resume(who.peer)
            if who.pieces:
                self._open(who)
            elif who.is_complete:
                self._complete(who, who.content())

    def _pause_or_resume(self, peer: int) -> None:
        """A peer whose put waits for room is not read from: whatever it sends next would have to be kept."""
        user = self._users[peer]
        waits = self._admission.waits(peer)
        if waits != user.paused:
            user.paused = waits
            self._outbox.add(Pause(peer) if waits else Resume(peer))

    # ---- doubted

    def check(self) -> list[Upload]:
        """Recompute every derived fact. Raises AssertionError; returns all uploads."""
        users = self._users.items()
        uploads = {(peer, request): upload for peer, user in users for request, upload in user.uploads.items()}
        by_object: dict[Key, bytes] = {key: name for name, keys in self._uploads.items() for key in keys}
        assert by_object == {key: upload.object for key, upload in uploads.items()} and all(self._uploads.values())
        assert not any(name in self._objects for name in self._uploads)
        for upload in uploads.values():
            assert upload.received_bytes <= upload.total_bytes <= self._max_object_bytes
            assert upload.pieces or not (upload.admitted and upload.is_complete)
            assert upload.owner not in self._objects.owners.gone
        for peer, user in users:
            assert user.paused == (self._admission.waits(peer) and not any(one.peer == peer for one in self._asked))
            assert not any(upload.is_complete for upload in user.answered.values())
            assert len(user.answered) <= REMEMBERED_ANSWERED
        assert not self._durable or self._unsaved.keys() <= {held.key for held in self._objects.moving}
        return list(uploads.values())
