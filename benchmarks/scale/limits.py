"""What the scheduler's state takes as there is more of everything: memory and processor time, below the sockets."""

from __future__ import annotations

import gc
import time
from array import array
from collections.abc import Callable

import psutil

from benchmarks.state_alone import CLIENT, StateAlone
from scaler.machine import Peer
from scaler.messages import (
    AllOffered,
    ClientHeartbeat,
    DefineFunctions,
    Function,
    ManagerReport,
    RegisterManager,
    RegisterWorker,
    Results,
    ResultStatus,
    Resuming,
    Role,
    Submit,
    SubmitArray,
    Subscribe,
    Survived,
    WorkerHeartbeat,
)
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState

SIZES = (100, 1_000, 10_000, 100_000)
STORMS = (1_000, 4_000, 16_000)
REPETITIONS = 5
MANAGER, MONITOR = 10_000_001, 10_000_002


def grown(what: Callable[[], object]) -> int:
    """Bytes by which this process grows."""
    gc.collect()
    before = psutil.Process().memory_info().rss
    what()
    return psutil.Process().memory_info().rss - before


def best_us(what: Callable[[], object], repetitions: int = REPETITIONS) -> float:
    """Microseconds of processor time, the least of several."""
    taken = []
    for _ in range(repetitions):
        began = time.thread_time()
        what()
        taken.append(time.thread_time() - began)
    return min(taken) * 1e6


def clients(state: SchedulerState, count: int) -> None:
    """So many more clients, that only say that they live."""
    for number in range(count):
        peer = 1_000_000 + number
        state.peer_connected(peer, Peer(Role.client, number.to_bytes(16, "big")), 0.0)
        state.receive(peer, ClientHeartbeat(1), 0.0)
    state.drain(0.0)


def memory(count: int) -> dict[str, float]:
    """Bytes of a worker, a client, a waiting task, a waiting item of 4 bytes, when there are so many of each."""
    kept: list[StateAlone] = []
    a_worker = grown(lambda: kept.append(StateAlone(count))) / count
    state = kept[0].state
    a_client = grown(lambda: clients(state, count)) / count
    kept[0].submit(2 * count)  # no worker takes more before it knows how long they take
    kept[0].settle()
    tasks = max(100_000, count)
    a_task = grown(lambda: kept[0].submit(tasks)) / tasks
    a_item = grown(lambda: state.receive(CLIENT, array_of(40 * tasks), 0.0)) / tasks / 40
    return {"worker": a_worker, "client": a_client, "task": a_task, "item": a_item}


def array_of(count: int) -> SubmitArray:
    """So many items of 4 bytes."""
    return SubmitArray(1 << 30, 0, b"item" * count, array("I", range(4, 4 * count + 1, 4)))


def costs(count: int) -> dict[str, float]:
    """Microseconds with so many workers: a heartbeat, a second's housekeeping, a decision on capacity, an update."""
    alone = StateAlone(count)
    state, worker = alone.state, CLIENT + 1
    now = [1.0]

    def beat() -> None:
        state.receive(worker, WorkerHeartbeat(1), now[0])
        state.drain(now[0])

    def tick() -> None:
        now[0] += 1.0
        state.tick(now[0])

    def decide() -> None:
        now[0] += 3.0
        state.receive(MANAGER, ManagerReport(0, 0, 0), now[0])
        now[0] += 3.0
        state.drain(now[0])

    def update() -> None:
        now[0] += 2.0
        for number in range(count):
            state.workers.sessions[number].vitals = WorkerHeartbeat(int(now[0]))
        began = time.thread_time()
        state.drain(now[0])
        taken.append(time.thread_time() - began)

    found = {"heartbeat": best_us(beat), "housekeeping": best_us(tick)}
    state.peer_connected(MONITOR, Peer(Role.monitor, b"m" * 16), now[0])
    state.receive(MONITOR, Subscribe(1000), now[0])
    state.drain(now[0])
    taken: list[float] = []
    for _ in range(3):
        update()
    found["monitor"] = min(taken) * 1e6
    state.peer_lost(MONITOR, "it left", now[0])
    state.peer_connected(MANAGER, Peer(Role.manager, b"a" * 16), now[0])
    state.receive(MANAGER, RegisterManager("manager", "none", 10 * count), now[0])
    found["capacity"] = best_us(decide, 3)
    return found


def storm(count: int) -> float:
    """Microseconds a worker while so many come back at once after a restart, each with one task of a client that is back, too."""
    state = SchedulerState(SchedulerSettings("tcp://127.0.0.1:1"))
    client = Peer(Role.client, b"c" * 16)
    state.peer_connected(CLIENT, client, 0.0)
    (session,) = state.clients.sessions.values()
    sequences = array("Q", range(count))
    for message in (
        Resuming(count),
        DefineFunctions([Function(0, "cloudpickle", b"f", b"", "f", b"")]),
        Submit(sequences, array("I", [0]), [b"payload"] * count),
        AllOffered(),
    ):
        state.receive(CLIENT, message, 0.0)
    began = time.thread_time()
    for number in range(count):
        peer = CLIENT + 1 + number
        state.peer_connected(peer, Peer(Role.worker, peer.to_bytes(16, "little")), 0.0)
        state.receive(peer, RegisterWorker(1, 1000, survivors=1), 0.0)
        if number % 10 == 9:
            state.drain(0.0)
    one, first, nothing = array("I", [1]).tobytes(), array("I", [0]).tobytes(), bytes(8)
    for number in range(count):
        id, sequence = (array("Q", [value]).tobytes() for value in (session.first_id + number, number))
        ran = Results(id, one, bytes([ResultStatus.unspecified]), [b""], nothing, nothing, nothing)
        told = Survived(ran, [client.identity], first, sequence)
        state.receive(CLIENT + 1 + number, told, 0.0)
        if number % 10 == 9:
            state.drain(0.0)
    took = time.thread_time() - began
    state.drain(0.5)
    running = state.task_counts().running
    if running != count:
        raise RuntimeError(f"{running} tasks of {count} were found to be running")
    return took / count * 1e6
