"""The object storage, as the scheduler has it: what it may free is said until it is known to have heard it."""

from __future__ import annotations

from collections import deque

from scaler.ids import OBJECT_ID_BYTES
from scaler.machine import Outbox
from scaler.messages import Statistics, StatisticsRequest
from scaler.scheduler.board import Board
from scaler.scheduler.owed import Owed

RELEASE_SECONDS = 1.0
"""With a journal: so much later results are freed that nobody needs."""


class ObjectStorage:
    """The conversation with it.

    It answers nothing that it is told to free, and reads in order: what was said before a request for statistics has been
    heard when that is answered. What a broken connection may have lost is said again, on the next one. That harms nothing:
    results have ids that are never used again, and of owners the last word counts.

    ``journaled``: results stay until the journal says that nobody needs them.
    """

    def __init__(self, address: str, board: Board, out: Outbox, journaled: bool) -> None:
        self._address = address
        self._board = board
        self._out = out
        self._journaled = journaled
        self._peer: int | None = None
        self._identity = b""
        self._owed = Owed()
        """To be said."""
        self._said = Owed()
        """Since the last request."""
        self._asked = Owed()
        """Before a request that is not answered."""
        self._mark = self._requests = 0
        """The number of that request, and of the last one."""
        self._later: deque[tuple[float, bytes, bytes]] = deque()
        """With a journal: when, (payload, owner) of stored results that nobody will fetch."""

    def connected(self, peer: int, identity: bytes) -> None:
        """Another identity is another process: objects may be gone, which shows when somebody asks for them."""
        if self._identity and identity != self._identity:
            text = f"the object storage at {self._address} was restarted"
            self._board.lineage.cause = text
            self._out.log(30, f"{text}; what is missed is made again")
        self._peer, self._identity = peer, identity
        self._say()

    def lost(self) -> None:
        """The connection broke: nobody knows what of it was heard."""
        self._peer = None
        for later in (self._said, self._owed):
            self._asked.extend(later)
        self._owed, self._said, self._asked = self._asked, Owed(), Owed()

    def heard(self, message: Statistics) -> None:
        """An answer, which shows what it has read."""
        if message.request >= self._mark:
            self._asked = Owed()

    def tell(self, now: float) -> None:
        """Have freed what the board says that nobody will fetch, and what clients had that are gone."""
        board, given_up = self._board, self._board.given_up
        if self._journaled:
            # Not before the journal says that nobody needs them: until then they may be needed after a restart.
            self._later += [(now + RELEASE_SECONDS, *entry) for entry in board.released_objects]
        else:
            for payload, owner in board.released_objects:
                self._owed.release(payload[:OBJECT_ID_BYTES], owner)
        for owner in given_up.gone:
            self._owed.release_owner(owner)
        for owner in given_up.returned:
            self._owed.admit_owner(owner)
        board.released_objects.clear()
        given_up.gone.clear()
        given_up.returned.clear()
        self._say()

    def _say(self) -> None:
        if self._peer is not None and self._owed:
            for message in self._owed.messages():
                self._out.send(self._peer, message)
            self._said.extend(self._owed)
            self._owed = Owed()

    def keep_house(self, now: float) -> None:
        """Each second or so: say what had to wait for the journal, and ask whether all was heard."""
        while self._later and self._later[0][0] <= now:
            _, payload, owner = self._later.popleft()
            self._owed.release(payload[:OBJECT_ID_BYTES], owner)
        if self._said:
            self.ask()

    def ask(self) -> None:
        """For statistics, which come if there is a storage."""
        if self._peer is None:
            return
        self._requests += 1
        self._out.send(self._peer, StatisticsRequest(self._requests))
        if not self._asked:
            self._asked, self._said, self._mark = self._said, Owed(), self._requests

    @property
    def is_there(self) -> bool:
        """Whether it is connected."""
        return self._peer is not None

    @property
    def busy(self) -> bool:
        """Whether it needs keep_house() though nobody is connected."""
        return bool(self._later)

    def is_peer(self, peer: int) -> bool:
        """Whether this is its connection."""
        return peer == self._peer
