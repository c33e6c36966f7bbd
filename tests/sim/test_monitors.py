"""Monitors that look at simulated clusters: in the end they know what is there, whatever happened on the way."""

from __future__ import annotations

from typing import Any

import pytest

from scaler.machine import Outbox, Output, Peer
from scaler.messages import Message, Role, Subscribe, Update
from scaler.monitor.model import Model

from .cluster import Cluster
from .network import Quality
from .nodes import SCHEDULER, Node
from .run import FAULT_SECONDS, plan_faults, populate, quality


class Watching:
    """A monitor's state: it subscribes, and folds what comes."""

    def __init__(self, interval_milliseconds: int) -> None:
        self.model = Model()
        self._interval = interval_milliseconds
        self._out = Outbox()

    def peer_connected(self, peer: int, who: Peer, now: float) -> None:
        self._out.send(peer, Subscribe(self._interval))

    def receive(self, peer: int, message: Message, now: float, attachment: bytes | bytearray = b"") -> None:
        assert isinstance(message, Update)
        self.model.apply(message)

    def peer_lost(self, peer: int, reason: str, now: float) -> None: ...

    def tick(self, now: float) -> None: ...

    def drain(self, now: float) -> list[Output]:
        return self._out.take()

    def next_deadline(self) -> float | None:
        return None

    def snapshot(self) -> dict[str, Any]:
        return {}

    def check(self) -> None: ...


def watch(cluster: Cluster, interval_milliseconds: int) -> Model:
    node = Node(cluster.network, cluster.books, f"monitor{interval_milliseconds}", Watching(interval_milliseconds))
    node.dial(SCHEDULER, Role.monitor)
    model: Model = node.state.model
    return model


def check(cluster: Cluster, model: Model) -> None:
    """All that lasts is as the scheduler has it."""
    state = cluster.scheduler.state
    workers = {session.identity: session for session in state.workers.sessions.values()}
    assert model.workers.keys() == workers.keys()
    for identity, facts in model.workers.items():
        assert (facts.slots, facts.held) == (workers[identity].facts.slots, 0)
        assert facts.executors == workers[identity].vitals.executors
    counts = state.task_counts()
    assert model.tasks == counts and counts.waiting + counts.ready + counts.assigned + counts.running == 0
    assert sum(facts.succeeded for facts in model.functions.values()) == counts.succeeded
    assert all(facts.unfinished == 0 for facts in model.functions.values())
    assert not state.board.graphs, "none is open"
    assert all(graph.finished + graph.failed == graph.tasks for graph in model.graphs)
    assert not model.waiting and model.running() == []


@pytest.mark.parametrize("seed", range(20))
def test_monitors_know_in_the_end_what_is_there(seed: int) -> None:
    cluster = Cluster(seed, Quality(0.001, 0.0))
    cluster.network.quality = quality(cluster.clock)
    models = [watch(cluster, 100), watch(cluster, 100), watch(cluster, 700)]
    populate(cluster, seed % 2 == 0)
    if seed % 2:
        plan_faults(cluster)
    cluster.finish(FAULT_SECONDS)
    cluster.clock.run(cluster.clock.now + 5)
    for model in models:
        check(cluster, model)
