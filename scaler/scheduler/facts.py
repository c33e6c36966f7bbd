"""What monitors are told of one thing, made of what the scheduler's parts know of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

from scaler.messages import (
    ClientFacts,
    FunctionFacts,
    ManagerFacts,
    WaitingTasks,
    WorkerFacts,
)
from scaler.scheduler.board import Board
from scaler.scheduler.sessions import ClientSession, ManagerSession, WorkerSession
from scaler.scheduler.survey import waiting

MOST_CLIENTS = 1000
MOST_CLASSES = 100


def worker_facts(worker: WorkerSession, held: int) -> WorkerFacts:
    """Of a worker that holds so many tasks."""
    vitals, facts = worker.vitals, worker.facts
    return WorkerFacts(
        worker.identity,
        worker.name,
        facts.host,
        facts.pid,
        facts.manager_name,
        facts.slots,
        held,
        round(vitals.cpu_percent, 1),
        vitals.resident_bytes,
        vitals.round_trip_microseconds,
        worker.draining,
        sorted(facts.capabilities),
        vitals.running,
        vitals.host_free_bytes,
        vitals.executors,
        worker.since,
        facts.worker_name,
    )


def client_facts(board: Board, clients: Collection[ClientSession]) -> list[ClientFacts]:
    """Of the clients, up to a bound."""
    return [
        ClientFacts(c.identity, c.name, c.peer is not None, board.count_of(c.number), c.number)
        for c in list(clients)[:MOST_CLIENTS]
    ]


def manager_facts(manager: ManagerSession) -> ManagerFacts:
    """Of a worker manager."""
    facts, report = manager.facts, manager.report
    return ManagerFacts(
        facts.manager_name,
        facts.kind,
        facts.max_slots,
        report.starting_slots,
        report.running_slots,
        report.failures,
        report.last_failure,
        facts.max_slots if facts.fixed else manager.desired or 0,
        facts.fixed,
        report.withheld_slots,
        sorted(facts.capabilities),
    )


def function_facts(board: Board) -> list[FunctionFacts]:
    """Of all functions, by name."""
    unfinished: Counter[str] = Counter()
    for number, uses, _ in board.functions.in_use():
        unfinished[board.functions.totals(number).name] += uses
    for task in board.ranges:
        items = board.ranges.get(task)
        if items is not None:
            unfinished[board.functions.totals(items.whole.function).name] += len(items) - 1
    return [
        FunctionFacts(
            t.name, t.succeeded, t.failed, t.wall_us, t.cpu_us, t.longest_us, t.peak_bytes, unfinished[t.name]
        )
        for t in board.functions.by_name.values()
    ]


def waiting_tasks(board: Board) -> Iterable[WaitingTasks]:
    """What is ready, by what it asks for, most first, up to a bound."""
    return [
        WaitingTasks(sorted(board.requirements.needs(c)), count, board.loads.runnable(c))
        for c, count in waiting(board).most_common(MOST_CLASSES)
    ]
