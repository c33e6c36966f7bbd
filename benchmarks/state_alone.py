"""The scheduler's state below the sockets: messages are objects, workers answer at once, and nothing is encoded.

Simulated workers hold a few tasks each. In every turn a bounded number of them answer, as an event loop would read them,
and then the state decides once. So what is measured is the cost of a task: submitted, placed, ended, delivered.
"""

from __future__ import annotations

import time
from array import array
from collections import deque

from benchmarks.zero_worker import results
from scaler.machine import Peer
from scaler.messages import (
    Assign,
    DefineFunctions,
    Function,
    RegisterWorker,
    Role,
    Submit,
    TaskOptions,
)
from scaler.net.daemon import collect_garbage_rarely
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState

CLIENT = 1
ANSWERS_A_TURN = 100
TASKS_A_WORKER = 32


class StateAlone:
    """A scheduler's state with one client and simulated workers that hold up to ``tasks_a_worker`` tasks.

    With ``classes`` greater than 1, worker w offers capability w % classes and no other.
    """

    def __init__(self, workers: int, classes: int = 1, tasks_a_worker: int = TASKS_A_WORKER) -> None:
        collect_garbage_rarely()  # as the daemon does
        self.state = SchedulerState(SchedulerSettings("tcp://127.0.0.1:1"))
        self.classes = classes
        self._sequence = 0
        self._waiting: deque[tuple[int, Assign]] = deque()
        self.state.peer_connected(CLIENT, Peer(Role.client, b"c" * 16), 0.0)
        self.state.receive(CLIENT, DefineFunctions([Function(0, "cloudpickle", b"f", b"", "f", b"")]), 0.0)
        for number in range(workers):
            peer = CLIENT + 1 + number
            self.state.peer_connected(peer, Peer(Role.worker, number.to_bytes(16, "little")), 0.0)
            offers = [f"c{number % classes}"] if classes > 1 else []
            self.state.receive(peer, RegisterWorker(1, tasks_a_worker - 1, offers, "", 0, "", ""), 0.0)
        self.settle()

    def submit(self, count: int, frame: int = 1000) -> None:
        """So many more tasks, in Submit messages of ``frame`` tasks; each message asks for the next capability."""
        for start in range(0, count, frame):
            numbers = range(self._sequence, self._sequence + min(frame, count - start))
            self._sequence = numbers.stop
            message = Submit(array("Q", numbers), array("I", [0]), [b"payload"] * len(numbers))
            if self.classes > 1:
                message.option_sets = [TaskOptions([f"c{numbers.start // frame % self.classes}"])]
                message.options = array("I", [0])
            self.state.receive(CLIENT, message, 0.0)

    def turn(self) -> int:
        """Some workers answer, the longest waiting first, and the state decides; returns how many tasks ended."""
        ended = 0
        for _ in range(min(ANSWERS_A_TURN, len(self._waiting))):
            peer, message = self._waiting.popleft()
            ended += len(message.payloads)
            self.state.receive(peer, results(message), 0.0)
        self.settle()
        return ended

    def settle(self) -> None:
        """Have the state decide: workers are given what they take."""
        for output in self.state.drain(0.0):
            message = getattr(output, "message", None)
            if isinstance(message, Assign):
                self._waiting.append((output.peer, message))


def cost(alone: StateAlone, tasks: int, frame: int = 1000) -> float:
    """Microseconds a task while ``tasks`` or a few more go through: as many are submitted in each turn as ended."""
    through = 0
    began = time.perf_counter()
    while through < tasks:
        ended = alone.turn()
        if not ended:
            raise RuntimeError(f"no task ended in a turn, after {through} of {tasks}")
        alone.submit(ended, frame)
        through += ended
    return (time.perf_counter() - began) / through * 1e6


def placements_a_second(workers: int = 10_000, tasks: int = 1_000_000) -> float:
    """A burst: all tasks are submitted, then placed and ended, with no more than that in the way."""
    alone = StateAlone(workers, tasks_a_worker=1001)
    began = time.perf_counter()
    alone.submit(tasks)
    alone.settle()
    ended = 0
    while ended < tasks:
        ended += alone.turn()
    return tasks / (time.perf_counter() - began)
