"""What becomes of tasks when objects are lost: results are made again by their tasks, the rest is put again by its client.

The lineage of a stored result is its task's row on the board, with arguments and inputs, which stays as long as something
depends on it. So what made a lost input is there, and what made the inputs of that, too.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from struct import error as StructError
from typing import TYPE_CHECKING

from scaler._core.slots import NONE
from scaler.errors import ProtocolError
from scaler.ids import LOST_OBJECT, NO_INPUT, OBJECT_ID_BYTES, SEQUENCE_BITS, sequence_of
from scaler.messages import ResultStatus
from scaler.scheduler.life import TaskEvent, TaskState

if TYPE_CHECKING:
    from scaler.scheduler.board import Board
    from scaler.scheduler.ends import End

MAX_LOSSES = 3
"""A task for which the same object is lost more often than this ends."""
_FAILED = (TaskState.FAILED, TaskState.CANCELLED)


class Lineage:
    """Tasks that wait for lost objects. Part of the board, of which it sees everything."""

    def __init__(self, board: Board) -> None:
        self.asked: list[tuple[int, bytes]] = []
        """(client number, object id) to have put again."""
        self.cause = "the object storage does not have it any more"
        """Why objects are lost, for people."""
        self._board = board
        self._remade: set[int] = set()
        """Tasks that run again for their dependents."""
        self._parked: dict[tuple[int, bytes], list[int]] = {}
        """By client number and object id: the ids of the tasks that wait until that client has put that object again."""
        self._ahead: set[int] = set()
        """Tasks that began before their inputs were here."""
        self._losses: dict[int, Counter[int | bytes]] = {}
        """By task: how often each input (its position) and each object (its id) was lost."""

    # ---- told

    def miss(self, task: int, payload: bytes) -> list[End]:
        """A task could not begin: ``payload`` names what is gone. It waits now, for that to be made again.

        It is with a worker, or an item that has just become a task of its own. Raises ProtocolError for another payload.
        """
        board = self._board
        inputs = board.graph.dependencies(task)
        lost = list(_entries(payload, len(inputs)))
        if board.life.state(task) != TaskState.WAITING:
            board.loads.release(array("I", [task]))
            board.life.apply(TaskEvent.BLOCK, array("I", [task]))
        losses = self._losses.setdefault(task, Counter())
        ends: list[End] = []
        for place, name in lost:
            if board.life.state(task) != TaskState.WAITING:
                break  # It has ended with what it waits for.
            key = name if place == NO_INPUT else place
            losses[key] += 1
            if losses[key] > MAX_LOSSES:
                ends += self._give_up(task, place, name, f"that happened {losses[key]} times")
            elif place == NO_INPUT:
                self._park(task, name)
            elif self._made(inputs[place], name):
                ends += self._lose(inputs[place])
            if place != NO_INPUT and self.useless(inputs[place]):
                ends += self._give_up(task, place, name, "it could not be made again")
        self._wake(task)
        return ends

    def restored(self, client: int, names: bytes, failures: list[str], parent: int | None) -> list[End]:
        """A client has put objects again, or says of each why it cannot; then its ``parent`` client is asked, if there is one.

        Raises ProtocolError when the columns do not fit together.
        """
        if len(names) != OBJECT_ID_BYTES * len(failures):
            raise ProtocolError("columns of different lengths")
        ends: list[End] = []
        for i, failure in enumerate(failures):
            name = names[OBJECT_ID_BYTES * i : OBJECT_ID_BYTES * (i + 1)]
            waiting = self._parked.pop((client, name), [])
            for task in self._board.slots.find(array("Q", waiting)):
                if task == NONE or task not in self._board._held:
                    continue
                if failure and parent is not None:
                    self._ask(parent, name, task)
                elif failure:
                    ends += self._give_up(task, NO_INPUT, name, failure)
                else:
                    self._board._held.discard(task)
                    self._wake(task)
        return ends

    def want(self, task: int) -> list[End]:
        """Its client has not heard of its end, and wants the result, too."""
        ends = self.revive([task])
        special = self._board.special.get(task)
        if special is not None:
            special.unwanted = False
        return ends

    def revive(self, tasks: Iterable[int]) -> list[End]:
        """Have those of these tasks run again whose results were freed, since they are needed after all."""
        ends: list[End] = []
        for task in tasks:
            if self._board.results.was_dropped(task):
                ends += self._lose(task)
        return ends

    def take_asked(self) -> dict[int, bytes]:
        """By client: the ids of objects to have put again, one after the other, which are not told twice."""
        asked, self.asked = self.asked, []
        names: dict[int, bytes] = {}
        for number, name in asked:
            names[number] = names.get(number, b"") + name
        return names

    def forget_client(self, client: int) -> None:
        """It is gone, and with it what it was asked for."""
        for key in [key for key in self._parked if key[0] == client]:
            del self._parked[key]

    def adopted(self, task: int) -> None:
        """It has come back with its worker; what it took is not here, and maybe not needed any more."""
        if self._board.graph.missing(task):
            self._ahead.add(task)

    def forget(self, tasks: Iterable[int]) -> None:
        """They are gone."""
        self._remade.difference_update(tasks)
        self._ahead.difference_update(tasks)
        for task in tasks if self._losses else ():
            self._losses.pop(task, None)

    def succeeded(self, tasks: Iterable[int]) -> None:
        """Their results are there, again or for the first time."""
        if self._remade:
            self._remade.difference_update(tasks)

    # ---- asked

    def __bool__(self) -> bool:
        """Whether anything was lost of which traces are left."""
        return bool(self._remade or self._losses or self._ahead)

    def explain(self, task: int) -> str:
        """Why a task waits, in one sentence."""
        graph, (id,) = self._board.graph, self._board.slots.ids(array("I", [task]))
        for (_, name), ids in self._parked.items():
            if id in ids:
                return f"waits until its client has put object {name.hex()} again"
        return f"waits for {graph.missing(task)} of {len(graph.dependencies(task))} dependencies"

    def outstanding(self, client: int) -> bytes:
        """The ids of the objects that this client was asked for, and has not answered, one after the other."""
        return b"".join(name for number, name in self._parked if number == client)

    def asked_for(self, most: int) -> list[tuple[int, bytes, int]]:
        """(client, object id, how many tasks wait for it), of so many objects that clients were asked to put again."""
        return [(number, name, len(ids)) for (number, name), ids in islice(self._parked.items(), most)]

    def blocked(self, tasks: array[int]) -> array[int]:
        """Of tasks that are ready, those that miss an input that was there when they began. They wait from now on."""
        missing = array("I", [task for task in tasks if self._board.graph.missing(task)])
        return self._board.life.apply(TaskEvent.BLOCK, missing)

    def waiting_for(self, task: int) -> Iterator[int]:
        """All that waits for a task, directly or not; what has begun or ended does not need it any more."""
        found, seen = [task], {task}
        for one in found:
            for user in self._board.graph.dependents(one):
                if user not in seen and self._board.life.state(user) == TaskState.WAITING:
                    seen.add(user)
                    found.append(user)
                    yield user

    def any_useless(self, tasks: Iterable[int]) -> bool:
        """Whether useless() holds for one of these."""
        ended_badly = self._board.life.count(TaskState.FAILED) or self._board.life.count(TaskState.CANCELLED)
        return bool(ended_badly) and any(map(self.useless, tasks))

    def useless(self, task: int) -> bool:
        """Whether it failed or was cancelled when it was to be made again, and is kept for what used its first result."""
        return self._board.life.state(task) in _FAILED

    def check(self) -> None:
        board = self._board
        assert all(board.life.state(task) for task in (*self._remade, *self._losses))
        assert not any(map(board.results.get, self._remade))
        parked = {id for ids in self._parked.values() for id in ids}
        held = set(board.slots.ids(array("I", [task for task in board._held if task in self._losses])))
        assert held <= parked, "a task waits for an object that nobody was asked for"

    # ---- inside

    def _made(self, producer: int, name: bytes) -> bool:
        """Whether this is the object of a task's present result, and not of one before."""
        result = self._board.results.get(producer)
        return result is not None and result[0] == ResultStatus.stored and result[1][:OBJECT_ID_BYTES] == name

    def _lose(self, lost: int) -> list[End]:
        """The result of a task that succeeded is gone: it runs again, after those that made what it takes and was freed.

        What waits in a queue for one of them waits outside of it now.
        """
        board, pending, ends = self._board, [lost], []
        for task in pending:
            if board.life.state(task) != TaskState.SUCCEEDED:
                continue  # Two of these take it.
            self._reopen(task)
            inputs = board.graph.dependencies(task)
            pending += filter(board.results.was_dropped, inputs)
            if any(map(self.useless, inputs)):
                text = f"the result of {board.label(task)} cannot be made again: what it takes could not"
                ends += board.end(task, ResultStatus.object_lost, text.encode())
        for task in pending:
            self._wake(task)
        return ends

    def _reopen(self, task: int) -> None:
        """A task that succeeded is unfinished, and waits."""
        board, tasks = self._board, array("I", [task])
        board.life.apply(TaskEvent.LOSE, tasks)
        board.results.pop(task)
        board.graphs.reopened(task)
        board.graph.reopen(task)
        # Its client has heard of its end; what it makes now is for dependents only.
        board.mark_unwanted(tasks)
        self._remade.add(task)
        users = board.graph.dependents(task)
        board.queues.remove(board.life.apply(TaskEvent.BLOCK, array("I", [u for u in users if self._is_ready(u)])))

    def _is_ready(self, task: int) -> bool:
        return self._board.life.state(task) == TaskState.READY

    def _park(self, task: int, name: bytes) -> None:
        """Wait until its client has put an object again."""
        self._board._held.add(task)
        (id,) = self._board.slots.ids(array("I", [task]))
        self._ask(id >> SEQUENCE_BITS, name, task)

    def _ask(self, client: int, name: bytes, task: int) -> None:
        if (client, name) not in self._parked:
            self.asked.append((client, name))
        self._parked.setdefault((client, name), []).extend(self._board.slots.ids(array("I", [task])))

    def _wake(self, task: int) -> None:
        """Back to the front of the queue, if nothing is missing any more."""
        board = self._board
        if board.life.state(task) == TaskState.WAITING and task not in board._held and not board.graph.missing(task):
            board.queue(board.life.apply(TaskEvent.UNBLOCK, array("I", [task])), front=True)
            board.changed = True

    def _give_up(self, task: int, place: int, name: bytes, why: str) -> list[End]:
        board = self._board
        if board.life.state(task) != TaskState.WAITING:
            return []  # It has ended just now, by the end of another one.
        of = ""
        if place != NO_INPUT:
            producer = board.graph.dependencies(task)[place]
            (id,) = board.slots.ids(array("I", [producer]))
            of = f", the result of {board.label(producer)} (task {sequence_of(id)}),"
        text = f"{board.label(task)} needs object {name.hex()}{of} which is lost ({self.cause}): {why}"
        board.failures.note(task, ResultStatus.object_lost, text.encode(), b"")
        return board.end(task, ResultStatus.object_lost, text.encode())


def _entries(payload: bytes, inputs: int) -> Iterator[tuple[int, bytes]]:
    """What an ``object_lost`` result names."""
    try:
        found = list(LOST_OBJECT.iter_unpack(payload))
    except StructError as error:
        raise ProtocolError(f"lost objects: {error}") from None
    if not found or any(place != NO_INPUT and place >= inputs for place, _ in found):
        raise ProtocolError("a task that begins without what is lost")
    yield from found
