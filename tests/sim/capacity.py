"""A simulated dynamic manager: the real state, with a place where workers take a while to start and sometimes fail."""

from __future__ import annotations

from collections.abc import Callable

from scaler.machine import Output
from scaler.manager.backend import Phase, Sighting, WorkerOrder
from scaler.manager.state import ManagerOptions, ManagerState, StartWorkers, StopWorkers
from scaler.messages import Role

from .checkers import Books, Violation
from .executors import STOPPED_BY_MANAGER, WorkerNode
from .network import Network
from .nodes import SCHEDULER, Node

POLL_SECONDS = 2.0
END_SECONDS = 0.05
"""From the end of a worker to when its manager may hear of it."""


class Site:
    """Where workers run. It outlives managers, and counts what was ever asked of it."""

    def __init__(self, network: Network, books: Books, hire: Callable[[WorkerOrder], WorkerNode]) -> None:
        self.clock = network.clock
        self.books = books
        self.hire = hire
        self.start_seconds = 0.1
        self.failing = 0.0
        """The chance that a worker cannot be started."""
        self.pending: dict[str, WorkerOrder] = {}
        self.workers: dict[str, WorkerNode] = {}
        self.taken: set[str] = set()
        """Those whose machine will be taken away."""
        self.most_slots = 0
        """The most there ever were at a time, pending and ending ones included."""

    def start(self, order: WorkerOrder, report: Callable[[Sighting], None]) -> None:
        if self.clock.chance(self.failing):
            failed = Sighting(order.name, Phase.ENDED, story="there is no room")
            self.clock.after(self.start_seconds / 2, lambda: report(failed))
            return
        self.pending[order.name] = order
        self.most_slots = max(self.most_slots, self.slots)
        report(Sighting(order.name, Phase.PENDING))
        self.clock.after(self.start_seconds * (0.5 + self.clock.random.random()), lambda: self._begin(order, report))

    def _begin(self, order: WorkerOrder, report: Callable[[Sighting], None]) -> None:
        if self.pending.pop(order.name, None) is not None:
            self.workers[order.name] = self.hire(order)
            report(Sighting(order.name, Phase.RUNNING))

    def stop(self, name: str) -> None:
        if self.pending.pop(name, None) is None and name in self.workers:
            worker = self.workers[name]
            if worker.alive:
                worker.state.asked_to_end(STOPPED_BY_MANAGER, worker.now)
                worker.wake()

    def look(self) -> list[Sighting]:
        """All that are there, and those that ended since the last look."""
        seen = [Sighting(name, Phase.PENDING, order.slots) for name, order in self.pending.items()]
        for name, worker in list(self.workers.items()):
            if worker.alive:
                seen.append(Sighting(name, Phase.RUNNING, worker.state.options.slots, leaving=name in self.taken))
            else:
                del self.workers[name]
                seen.append(Sighting(name, Phase.ENDED, story=f"{name} ended", orderly=worker.orderly))
        return seen

    @property
    def slots(self) -> int:
        return sum(order.slots for order in self.pending.values()) + sum(
            worker.state.options.slots for worker in self.workers.values() if worker.alive
        )


class ManagerNode(Node):
    """A dynamic manager of a site."""

    def __init__(self, network: Network, books: Books, site: Site, options: ManagerOptions, check_every: int) -> None:
        super().__init__(
            network, books, f"manager {options.name} {options.instance}", ManagerState(options), check_every
        )
        self.site = site
        self.state.start(self.now)
        self._look()
        self.dial(SCHEDULER, Role.manager)

    def carry_out(self, output: Output) -> None:
        if isinstance(output, StartWorkers):
            for order in output.orders:
                self.site.start(order, self._report)
        elif isinstance(output, StopWorkers):
            for name in output.names:
                self.site.stop(name)
        else:
            super().carry_out(output)

    def _report(self, sighting: Sighting) -> None:
        if self.alive and not self.later(lambda: self._report(sighting)):
            self.state.sighted([sighting], self.now, complete=False)
            self.wake()

    def _look(self) -> None:
        if self.alive and not self.later(self._look):
            self.state.sighted(self.site.look(), self.now, complete=True)
            self.wake()
            self.clock.after(POLL_SECONDS * self.clock.random.random(), self._look)

    def check_limits(self) -> None:
        """Never more than was allowed."""
        if self.site.most_slots > self.state.options.slots:
            raise Violation(f"{self.name} had {self.site.most_slots} slots, of {self.state.options.slots} at most")
