"""The cluster: all nodes on one network, the things that may befall them, and the last judgement."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scaler.manager.backend import WorkerOrder
from scaler.manager.state import ManagerOptions
from scaler.scheduler.policy import Policy
from scaler.scheduler.settings import SchedulerSettings
from scaler.worker.executors import SPARE_SECONDS
from scaler.worker.state import WorkerOptions

from .capacity import ManagerNode, Site
from .checkers import Books, Violation
from .clock import Clock
from .executors import Executor, WorkerNode
from .network import Link, Network, Quality, host_of
from .nodes import SCHEDULER, ClientNode, Node, SchedulerNode, StorageNode
from .workload import Mix, User, script

PATIENCE_SECONDS = 200.0
"""Everything has to finish within this time after the last fault."""
STRAGGLERS_SECONDS = 1.0
TIMEOUT_SECONDS = 6.0
SETTINGS = SchedulerSettings(
    "tcp://storage:1",
    client_timeout_seconds=TIMEOUT_SECONDS,
    worker_timeout_seconds=TIMEOUT_SECONDS,
    inline_limit_bytes=1 << 20,
)


class Cluster:
    """One scheduler, one storage, and workers and clients as they are added."""

    def __init__(
        self,
        seed: int,
        quality: Quality | None = None,
        verbose: bool = False,
        check_every: int = 1,
        policy: Policy | None = None,
    ) -> None:
        self.settings = replace(SETTINGS, policy=policy or Policy())
        self.clock = Clock(seed, verbose)
        self.books = Books(self.clock)
        self.network = Network(self.clock, quality or Quality())
        self.check_every = check_every
        self.storage = StorageNode(self.network, self.books, check_every)
        self.workers: list[WorkerNode] = []
        self.managers: list[ManagerNode] = []
        self.users: list[User] = []
        self.left_early = self.restarted = False
        self._names = 0
        self.scheduler = self._new_scheduler()

    # ---- who takes part

    def _new_scheduler(self) -> SchedulerNode:
        name = f"{SCHEDULER}{self._number()}"
        return SchedulerNode(self.network, self.books, self.settings, name, self.check_every)

    def add_worker(self, slots: int = 1, capabilities: tuple[str, ...] = (), **options: Any) -> WorkerNode:
        options.setdefault("grace_seconds", self.clock.random.choice((0.0, 0.5)))
        facts = WorkerOptions(slots, capabilities=capabilities, host="sim", **options)
        name = f"worker{self._number()}"
        self.workers.append(WorkerNode(self.network, self.books, self.storage, name, facts, self.check_every))
        return self.workers[-1]

    def add_manager(
        self, name: str, slots: int, worker_slots: int = 1, capabilities: tuple[str, ...] = (), **options: Any
    ) -> ManagerNode:
        """A dynamic one, with a site of its own."""

        def hire(order: WorkerOrder) -> WorkerNode:
            return self.add_worker(order.slots, capabilities, manager_name=name, worker_name=order.name)

        facts = ManagerOptions(
            name, "sim", slots, capabilities, fixed=False, worker_slots=worker_slots, instance="0", **options
        )
        return self._new_manager(Site(self.network, self.books, hire), facts)

    def _new_manager(self, site: Site, options: ManagerOptions) -> ManagerNode:
        self.managers.append(ManagerNode(self.network, self.books, site, options, self.check_every))
        return self.managers[-1]

    def add_user(self, mix: Mix | None = None) -> User:
        client = ClientNode(self.network, self.books, self.storage, f"client{self._number()}", self.check_every)
        self.users.append(User(client, self.books, mix or Mix()))
        return self.users[-1]

    def _number(self) -> int:
        self._names += 1
        return self._names

    @property
    def inner(self) -> list[User]:
        """The clients inside tasks."""
        return [executor.user for executor in self.executors if executor.user is not None]

    @property
    def executors(self) -> list[Executor]:
        """Those that live."""
        return [e for w in self.workers if w.alive for e in w.executors.values() if e.alive]

    # ---- what may happen to them

    def lose_link(self, longest: float = 0.5) -> None:
        """A connection breaks."""
        link = self._some_link()
        if link is not None:
            self.clock.tell(f"fault: {link} breaks")
            self._disturbed(link.ends[0].owner)
            link.lose(longest)

    def reconnect(self) -> None:
        """A peer gives up its connection and comes by a new one, while the old one still brings what it sent before."""
        link = self._some_link()
        if link is not None:
            seconds = self._some_while()
            self.clock.tell(f"fault: {link} is left by the dialer, and ends {seconds} s later")
            self._disturbed(link.ends[0].owner)
            link.leave(seconds)

    def freeze_link(self) -> None:
        """Nothing arrives for a while, on one side or both."""
        link = self._some_link()
        if link is not None:
            seconds, ways = self._some_while(), self._ways()
            self.clock.tell(f"fault: {link} is frozen for {seconds} s, {ways}")
            self._disturbed(link.ends[0].owner, seconds)
            link.freeze(seconds, ways)

    def partition(self) -> None:
        """Some hosts do not reach the others, or are not reached by them, or both."""
        nodes: list[Node] = [self.storage, *(worker for worker in self.workers if worker.alive)]
        nodes += [user.client for user in self.users if not user.client.left]
        nodes += [manager for manager in self.managers if manager.alive]
        cut = self.clock.random.sample(nodes, self.clock.random.randint(1, len(nodes))) if nodes else []
        hosts = {host_of(node) for node in cut}
        seconds, ways = self._some_while(), self._ways()
        self.clock.tell(f"fault: {sorted(hosts)} are cut off for {seconds} s, {ways}")
        for node in [*cut, *(user.client for user in self.inner if host_of(user.client) in hosts)]:
            self._disturbed(node, seconds)
        self.network.cut(hosts, seconds, *ways)

    def stop_process(self) -> None:
        """A process is stopped for a while, and goes on with what it had in its hands."""
        node = self._some_node()
        seconds = self._some_while()
        self.clock.tell(f"fault: {node.name} is stopped for {seconds} s")
        self._disturbed(node, seconds)
        node.sleep(seconds)
        for user in self.inner:
            if user.client.asleep_until == node.asleep_until:
                self._disturbed(user.client, seconds)

    def jump_clock(self) -> None:
        """The clock of one machine goes forward: that costs nothing."""
        node = self._some_node()
        seconds = self._some_while()
        self.clock.tell(f"fault: the clock of {node.name} jumps by {seconds} s")
        node.jump(seconds)

    def slow_reader(self) -> None:
        """A process comes to read only now and then."""
        node = self._some_node()
        times, pause = self.clock.random.randint(2, 10), self.clock.random.choice((0.05, 0.3))
        self.clock.tell(f"fault: {node.name} reads each {pause} s, {times} times")
        self._disturbed(node)
        for i in range(times):
            self.clock.after(i * pause * 1.1, lambda: node.sleep(pause))

    def _some_link(self) -> Link | None:
        links = self.network.links()
        return self.clock.random.choice(links) if links else None

    def _some_node(self) -> Node:
        """Of those that have a process of their own."""
        users = [user.client for user in self.users if not user.client.left]
        nodes: list[Node] = [self.scheduler] * 3 + [*self.workers, *users, *self.managers]
        return self.clock.random.choice([node for node in nodes if node.alive] or [self.scheduler])

    def _some_while(self) -> float:
        """Shorter or longer than the time after which peers are given up."""
        return self.clock.random.choice((0.05, 0.5, 3.0, 2 * TIMEOUT_SECONDS))

    def _ways(self) -> tuple[bool, bool]:
        return self.clock.random.choice(((True, True), (True, False), (False, True)))

    def _disturbed(self, node: object, seconds: float = 0.0) -> None:
        self.books.disturbances += 1
        # The scheduler may forget a client before it is back. One that was stopped itself forgets nobody.
        clients = [node] if isinstance(node, ClientNode) else []
        self.books.lives += bool(clients)
        if seconds > 1.0:
            self.books.silenced.update(client.identity for client in clients)

    def kill_executor(self) -> None:
        executors = self.executors
        if executors:
            busy = [executor for executor in executors if executor.run] or executors
            self.clock.random.choice(busy).die("killed by somebody")

    def kill_worker(self) -> None:
        """A worker's host is gone; later there is another one like it."""
        self._end_worker(orderly=False)

    def take_machine(self) -> None:
        """The machine of a worker is taken away: its manager can see that before, if it looks in time."""
        living = [(m.site, name) for m in self.managers for name, worker in m.site.workers.items() if worker.alive]
        if not living:
            return
        site, name = self.clock.random.choice(living)
        worker = site.workers[name]
        site.taken.add(name)
        self.books.disturbances += 1
        self.clock.after(self.clock.random.random() * 4, lambda: worker.kill() if worker.alive else None)

    def dismiss_worker(self) -> None:
        """A worker leaves in order; later there is another one like it."""
        self._end_worker(orderly=True)

    def _end_worker(self, orderly: bool) -> None:
        living = [worker for worker in self.workers if worker.alive]
        if not living:
            return
        worker = self.clock.random.choice(living)
        self.books.disturbances += 1
        if orderly:
            worker.state.asked_to_end("it was asked to", worker.now)
            worker.wake()
        else:
            worker.kill()
        options = worker.state.options
        if options.manager_name:
            return  # Its manager sees to it.
        pause = self.clock.random.random() * 2
        self.clock.after(
            pause, lambda: self.add_worker(options.slots, options.capabilities, queue_limit=options.queue_limit)
        )

    def restart_manager(self) -> None:
        """A manager is gone without a word; later another one of its name finds what it left."""
        living = [manager for manager in self.managers if manager.alive]
        if not living:
            return
        manager = self.clock.random.choice(living)
        manager.kill()
        self.managers.remove(manager)
        options = replace(manager.state.options, instance=str(self._number()))
        self.clock.after(self.clock.random.random() * 2, lambda: self._new_manager(manager.site, options))

    def restart_scheduler(self) -> None:
        """The scheduler is gone; later a new one stands in its place, and knows nothing."""
        if not self.scheduler.alive:
            return
        self.restarted = True
        self.books.disturbances += 1
        self.books.lives += 1
        self.scheduler.kill()

        def start() -> None:
            self.scheduler = self._new_scheduler()

        self.clock.after(self.clock.random.random() * 2, start)

    def restart_storage(self) -> None:
        """All objects are lost."""
        self.books.emptied += 1
        self.books.disturbances += 1
        self.storage.restart()

    def vanish_client(self) -> None:
        """A client is gone without a word, as long as another one stays."""
        present = [user for user in self.users if not user.client.left]
        if len(present) > 1:
            self.left_early = True
            self.clock.random.choice(present).client.vanish()

    def restart_client(self) -> None:
        """A client is gone without a word; its program is started again, and does the like."""
        present = [user for user in self.users if not user.client.left]
        if present:
            self.left_early = True
            user = self.clock.random.choice(present)
            user.client.vanish()

            def start() -> None:
                again = self.add_user(user.mix)
                script(again, max(1, len(user.jobs)), 1.0)

            self.clock.after(self.clock.random.random() * 2, start)

    def dismiss_client(self) -> None:
        """A client leaves while its tasks run."""
        present = [user for user in self.users if not user.client.left]
        if len(present) > 1:
            self.left_early = True
            self.clock.random.choice(present).client.leave()

    # ---- the end

    def finish(self, after: float = 0.0) -> None:
        """Let everything end, and check that it does, and that nothing is kept. Nothing happens after ``after``."""
        clock, books = self.clock, self.books
        clock.run(after)
        if not clock.run(clock.now + PATIENCE_SECONDS, lambda: books.missing == 0):
            self._fail("these never end: " + "\n".join(map(self._explain, books.unfinished()[:10])))
        # Also what nobody waits for, such as children that outlived their parents, and may submit more.
        for _ in range(2):  # What a client said last may arrive when it is gone.
            if not clock.run(clock.now + PATIENCE_SECONDS, self._idle):
                books.check_idle()
            clock.run(clock.now + STRAGGLERS_SECONDS)
        clock.tell("all wanted tasks ended")
        for user in self._present():
            user.retire()
            user.client.free_objects()
        # Until spare executors have ended, and those who vanished are forgotten.
        clock.run(clock.now + SPARE_SECONDS + 3 * TIMEOUT_SECONDS)
        self._check_empty()
        for user in self._present():
            user.client.leave()
        clock.run(clock.now + 1.0)
        self._check_left()

    def _idle(self) -> bool:
        state = self.scheduler.state
        idle = not +self.books.running and not state.board and not state.clients.resuming
        return idle and not any(user.client.state.unfinished for user in self._present())

    def _present(self) -> list[User]:
        return [user for user in [*self.users, *self.inner] if not user.client.left]

    def _explain(self, job: Any) -> str:
        snapshot = self.scheduler.state.snapshot()
        clients = self.scheduler.state.clients.sessions.values()
        numbers = [session.number for session in clients if session.identity == job.client]
        why = (
            self.scheduler.state.explain(numbers[0] << 40 | job.sequence).text if numbers else "its client is not known"
        )
        return f"{job}: {why} ({snapshot})"

    def _check_empty(self) -> None:
        """All tasks ended, and no function will be named again: no trace of either is left anywhere."""
        seen = self.scheduler.state.snapshot()
        counts = seen["tasks"]
        if counts.waiting or counts.ready or counts.assigned or counts.running or len(self.scheduler.state.board):
            self._fail(f"the scheduler keeps tasks: {counts}, {len(self.scheduler.state.board)} in all")
        if seen["functions"]:
            self._fail(f"the scheduler keeps functions: {seen}")
        for user in self._present():
            kept = user.client.state.snapshot()
            if kept["unfinished"] or kept["functions"] or not kept["connected"]:
                self._fail(f"{user.client.name} keeps something: {kept}")
        for worker in self.workers:
            if worker.alive and len(worker.executors) != worker.state.options.slots:
                self._fail(f"{worker.name} keeps {len(worker.executors)} executors")
            kept = worker.state.snapshot()
            if worker.alive and (kept["queued"] or kept["sent"] or kept["functions"] or not kept["connected"]):
                self._fail(f"{worker.name} keeps something: {kept}")
        objects = self.storage.state.snapshot()["objects"]
        if objects and not self._objects_may_stay():
            self._fail(f"the storage keeps {objects} objects that nobody will fetch")

    def _objects_may_stay(self) -> bool:
        """Whether some results were made twice or for nobody: these objects stay until their owners leave."""
        books = self.books
        cancelled = any(job.cancelled for job in books.jobs.values())
        return cancelled or self.left_early or books.disturbances > 0 or books.deaths > 0

    def _check_left(self) -> None:
        seen = self.scheduler.state.snapshot()
        if seen["clients"]:
            self._fail(f"the scheduler keeps clients: {seen}")
        objects = self.storage.state.snapshot()["objects"]
        # A new scheduler never hears of a client that was gone before, and so cannot free what it owned.
        inner_gone = any(job.dropped for job in self.books.jobs.values() if job.parent is not None)
        # A new storage does not know whose puts it has to refuse.
        anew = self.restarted or self.books.emptied
        if objects and not (anew and (self.left_early or inner_gone)):
            self._fail(f"the storage keeps {objects} objects")

    def _fail(self, text: str) -> None:
        raise Violation(f"seed {self.clock.seed}, {self.clock.now:.3f} s: {text}")
