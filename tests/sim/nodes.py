"""Nodes: each runs one state the way ``scaler.net.driver`` does. What arrives is told first; then one drain decides."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from scaler.client.lineage import ancestry, copies
from scaler.client.state import ClientState, Connected, Ended, RestoreAsked, Slots, Task
from scaler.ids import OBJECT_ID_BYTES, u64
from scaler.machine import Close, Log, Output, Peer, Send, Stop
from scaler.messages import (
    Chunk,
    Get,
    Message,
    Put,
    Release,
    ResultStatus,
    Role,
    StorageFailure,
    StorageFailureReason,
    Stored,
)
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState
from scaler.storage.outputs import Transmit
from scaler.storage.state import StorageState
from scaler.wire.handshake import Dialer, Listener

from .checkers import Books, Violation
from .clock import Clock
from .network import Connection, Network

BACK_OFF_SECONDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
SHORTEST_TIMER = 0.001
TURN_SECONDS = 0.000_2
"""How long a node may be busy before it decides, so that several messages meet in one turn."""
LONGEST_UPTIME = 1e6
"""Clocks of different machines have nothing in common. Seconds."""
LONGEST_RESTORE = 0.01
"""How long it takes a client to put again what is lost."""
LAZY, LONGEST_LAZINESS = 0.2, 2.0
"""How many users fetch a stored result later, and when at last."""
SCHEDULER, STORAGE = "scheduler", "storage"
ORDERLY = ("connected again", "it leaves", "left", "silent for too long", "was gone for", "there is a worker manager")
"""Why a connection may be closed. Everything else says that somebody broke the protocol, and here all are ours."""


class Node:
    """A process: one state, its connections, its timer."""

    roles: tuple[Role, ...] = ()

    def __init__(self, network: Network, books: Books, name: str, state: Any, check_every: int = 1) -> None:
        self.network = network
        self.books = books
        self.clock: Clock = network.clock
        self.name = name
        self.state = state
        self.identity = self.clock.bytes(16)
        self.connections: dict[int, Connection] = {}
        self.alive = True
        self.turns = 0
        self.asleep_until = 0.0
        self._ahead = Random(f"{self.clock.seed} {name}").random() * LONGEST_UPTIME
        """Its clock less that of the simulation."""
        self._check_every = check_every
        self._numbers = 0
        self._woken = self._due = False
        self._timer_at = float("inf")

    # ---- time

    @property
    def now(self) -> float:
        """By its own clock."""
        return self.clock.now + self._ahead

    def jump(self, seconds: float) -> None:
        """Its clock goes forward, as that of a machine that was asleep."""
        self._ahead += seconds
        if self._timer_at != float("inf"):
            self._time_has_come(self._timer_at)

    def sleep(self, seconds: float) -> None:
        """The process is stopped: it reads, decides and sends nothing until it wakes, with all that came meanwhile before it."""
        self.asleep_until = max(self.asleep_until, self.clock.now + seconds)
        for connection in self.network.connections_of(self):
            connection.incoming_flow.freeze(self.asleep_until)

    def later(self, what: Callable[[], None]) -> bool:
        """Whether it sleeps, and does this when it wakes."""
        if self.clock.now < self.asleep_until:
            self.clock.at(self.asleep_until, what)
            return True
        return False

    # ---- connections

    def listen(self, address: str) -> None:
        self.network.listen(address, self)

    def accept(self) -> Connection:
        return Connection(self.clock, self, Listener(self.roles, self.identity))

    def dial(self, address: str, role: Role, attempt: int = 0) -> None:
        """Connect, and connect again whenever the connection is gone, as long as the node lives."""
        if not self.alive or self.later(lambda: self.dial(address, role, attempt)):
            return
        connection = Connection(self.clock, self, Dialer(role, self.identity, self.name))
        connection.dialed = address, role
        if not self.network.connect(connection, address):
            pause = BACK_OFF_SECONDS[min(attempt, len(BACK_OFF_SECONDS) - 1)]
            self.clock.after(pause, lambda: self.dial(address, role, attempt + 1))

    def _dial_again(self, connection: Connection) -> None:
        if connection.dialed is not None:
            self.clock.after(BACK_OFF_SECONDS[0] * self.clock.random.random(), lambda: self.dial(*connection.dialed))

    def connected(self, connection: Connection, peer: Peer) -> None:
        if not self.alive:
            connection.vanish()
            return
        self._numbers += 1
        connection.number = self._numbers
        self.connections[connection.number] = connection
        self.state.peer_connected(connection.number, peer, self.now)
        self.wake()

    def received(self, connection: Connection, message: Message, attachment: bytes) -> None:
        if connection.number in self.connections:
            self.state.receive(connection.number, message, self.now, attachment)

    def disconnected(self, connection: Connection, reason: str) -> None:
        if not self.alive:
            return
        if self.connections.pop(connection.number, None) is not None:
            self.state.peer_lost(connection.number, reason, self.now)
            self.wake()
        self._dial_again(connection)

    def paused(self, connection: Connection, paused: bool) -> None:
        """A peer does not read what it is sent, or reads again."""
        if self.alive and connection.number in self.connections and isinstance(self.state, SchedulerState):
            self.state.pause_monitor(connection.number, paused)
            self.wake()

    # ---- decisions

    def wake(self) -> None:
        """Decide soon, once."""
        if not self._woken and self.alive:
            self._woken = True
            self.clock.after(self.clock.random.random() * TURN_SECONDS, self._turn)

    def _turn(self) -> None:
        self._woken = False
        if not self.alive or self.later(self.wake):
            return
        self.turns += 1
        now = self.now
        if self._due:
            self._due = False
            self.state.tick(now)
        self.do(self.state.drain(now))
        if self.turns % self._check_every == 0:
            self.state.check()
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        deadline = self.state.next_deadline()
        deadline = float("inf") if deadline is None else max(deadline, now + SHORTEST_TIMER)
        if deadline != self._timer_at:
            self._timer_at = deadline
            if deadline != float("inf"):
                self.clock.at(deadline - self._ahead, lambda: self._time_has_come(deadline))

    def _time_has_come(self, deadline: float) -> None:
        if deadline == self._timer_at and self.alive:
            self._timer_at = float("inf")
            self._due = True
            self.wake()

    def do(self, outputs: list[Output]) -> None:
        written: dict[int, Connection] = {}
        for output in outputs:
            if isinstance(output, Send):
                connection = self.connections.get(output.peer)
                if connection is not None:
                    connection.send(output.message, output.attachment)
                    written[output.peer] = connection
            elif isinstance(output, Log):
                self.clock.tell(f"{self.name}: {output.text}")
            elif isinstance(output, Close):
                self._close(output)
            elif isinstance(output, Stop):
                for connection in written.values():
                    connection.flush()
                self.stop(output.reason)
                return
            else:
                self.carry_out(output)
        for connection in written.values():
            connection.flush()

    def _close(self, output: Close) -> None:
        if not any(text in output.reason for text in ORDERLY):
            raise Violation(f"seed {self.clock.seed}: {self.name} is told what it does not understand: {output.reason}")
        connection = self.connections.pop(output.peer, None)
        if connection is not None:
            connection.close()
            self._dial_again(connection)

    def carry_out(self, output: Output) -> None:
        """What is peculiar to one state."""
        raise AssertionError(f"{self.name} cannot carry out {output!r}")

    # ---- the end

    def stop(self, reason: str) -> None:
        """End in order: what was sent arrives."""
        self.clock.tell(f"{self.name}: ends ({reason})")
        self.alive = False
        for connection in self.connections.values():
            connection.close()

    def kill(self) -> None:
        """End at once. The others hear of it when their connections break."""
        self.clock.tell(f"{self.name}: is killed")
        self.alive = False
        for connection in self.connections.values():
            connection.vanish()


class SchedulerNode(Node):
    """The scheduler; it dials the storage."""

    roles = (Role.client, Role.worker, Role.manager, Role.monitor)

    def __init__(
        self, network: Network, books: Books, settings: SchedulerSettings, name: str, check_every: int
    ) -> None:
        super().__init__(network, books, name, SchedulerState(settings), check_every)
        self.listen(SCHEDULER)
        self.dial(STORAGE, Role.storage_user)

    def kill(self) -> None:
        super().kill()
        self.network.unlisten(SCHEDULER)


class StorageNode(Node):
    """The object storage. Executors and clients use it directly, without a link; the scheduler over the network."""

    roles = (Role.storage_user,)
    _DIRECT = 1 << 40

    def __init__(self, network: Network, books: Books, check_every: int) -> None:
        super().__init__(network, books, STORAGE, StorageState(), check_every)
        self._requests = 0
        self._connect_directly()
        self._answer: Any = None
        self.listen(STORAGE)

    def _connect_directly(self) -> None:
        self.state.peer_connected(self._DIRECT, Peer(Role.storage_user, self.clock.bytes(16), "direct"), self.now)

    def restart(self) -> None:
        """It is gone with all it has, and another one stands in its place."""
        self.clock.tell(f"{self.name}: is killed, and comes back empty")
        self.state, self.identity = StorageState(), self.clock.bytes(16)
        for connection in self.connections.values():
            connection.vanish()
        self.connections.clear()
        self._connect_directly()

    def put(self, content: bytes, owner: bytes, name: bytes = b"") -> bytes | None:
        """Store an object; returns its id, None when it was refused."""
        name = name or self.clock.bytes(OBJECT_ID_BYTES)
        answer = self._ask(Put(self._request(), name, owner, len(content), 0), content)
        return name if isinstance(answer, Stored) else None

    def get(self, name: bytes) -> bytes | None:
        """The content of an object that was there, None when it was freed. Raises LookupError when it is lost."""
        answer = self._ask(Get(self._request(), name, existed=True))
        if isinstance(answer, StorageFailure) and answer.reason == StorageFailureReason.lost:
            raise LookupError(answer.text)
        return bytes(answer.content.view) if isinstance(answer, Transmit) else None

    def release(self, name: bytes, owner: bytes) -> None:
        self._ask(Release(name, owner))

    def _request(self) -> int:
        self._requests += 1
        return self._requests

    def _ask(self, message: Message, attachment: bytes = b"") -> Any:
        self._answer = None
        self.state.receive(self._DIRECT, message, self.now, attachment)
        self.do(self.state.drain(self.now))
        return self._answer

    def do(self, outputs: list[Output]) -> None:
        direct = [output for output in outputs if getattr(output, "peer", None) == self._DIRECT]
        for output in direct:
            self._answer = output.message if isinstance(output, Send) else output
            if isinstance(output, Transmit):
                self.state.transmitted(output.peer, output.request)
            if isinstance(self._answer, StorageFailure | Chunk):
                self.clock.tell(f"{self.name}: {self._answer}")
        super().do([output for output in outputs if output not in direct])


class ClientNode(Node):
    """A client, with the user at its side."""

    def __init__(self, network: Network, books: Books, storage: StorageNode, name: str, check_every: int) -> None:
        super().__init__(network, books, name, ClientState(), check_every)
        self.storage = storage
        self.left = False
        self.objects: dict[bytes, bytes] = {}
        """What it put into the storage, by id."""
        self.retired: set[int] = set()
        """Functions that it will not name again."""
        self.numbers: Callable[[int], int] = lambda count: 0
        """Mints sequences for so many tasks; returns the first."""
        self._originals: dict[int, int] = {}
        """Of tasks that make lost results again: the sequence under which the user knows the result."""
        self.heard: Callable[[], None] = lambda: None
        """Called when tasks have ended."""
        self.dial(SCHEDULER, Role.client)

    def carry_out(self, output: Output) -> None:
        if isinstance(output, Ended):
            self._ended(output)
        elif isinstance(output, RestoreAsked):
            self.clock.after(self.clock.random.random() * LONGEST_RESTORE, lambda: self._restore(output.objects))
        elif not isinstance(output, Connected | Slots):
            super().carry_out(output)

    def _ended(self, output: Ended) -> None:
        """As the real client's service: futures take their outcome, stored results are fetched and freed."""
        results = output.results
        for sequence, task, status, payload in zip(
            u64(results.tasks), output.tasks, results.statuses, results.payloads, strict=True
        ):
            if task is not None:
                self._deliver(sequence, ResultStatus(status), payload, task)
        for ended in output.items:
            begins = [0, *ended.ends]
            for i in range(ended.end - ended.begin):
                payload = ended.payload[begins[i] : ended.ends[i]] if ended.ends else ended.payload
                whole, item = ended.whole, ended.begin + i
                content = whole.items[whole.ends[item - 1] if item else 0 : whole.ends[item]]
                task = Task(whole.first + item, whole.function, content, whole.options)
                self._deliver(task.sequence, ResultStatus(ended.status), payload, task)
        for group in output.closed:
            for name in group.results:
                self.storage.release(name, self.identity)
        self.heard()

    def _deliver(self, sequence: int, status: ResultStatus, payload: bytes, task: Task) -> None:
        if status == ResultStatus.stored and self.clock.chance(LAZY):
            pause = self.clock.random.random() * LONGEST_LAZINESS
            self.clock.after(pause, lambda: self._take_later(sequence, status, payload, task))
        else:
            self._take(sequence, status, payload, task)

    def _take_later(self, sequence: int, status: ResultStatus, payload: bytes, task: Task) -> None:
        if not self.left:
            self._take(sequence, status, payload, task)
            self.heard()

    def _take(self, sequence: int, status: ResultStatus, payload: bytes, task: Task) -> None:
        value: bytes | None = payload
        group = task.group
        if status == ResultStatus.stored:
            name = payload[:OBJECT_ID_BYTES]
            try:
                value = self.storage.get(name)
            except LookupError:
                self._make_again(sequence, task)
                return
            if group is None or group.closed:
                self.storage.release(name, self.identity)
            else:
                group.results.append(name)
        sequence = self._originals.pop(sequence, sequence)
        key = self.identity + sequence.to_bytes(8, "little")
        self.clock.tell(f"{self.name}: task {sequence} {status.name}")
        self.books.delivered(key, status, value)

    def _make_again(self, sequence: int, task: Task) -> None:
        """A result was lost before it was fetched: what made it runs again, under new sequences."""
        tasks = ancestry(task, task.group.tasks) if task.group is not None else [task]
        original = self._originals.pop(sequence, sequence)
        if any(one.function in self.retired for one in tasks):
            self.books.delivered(self.identity + original.to_bytes(8, "little"), ResultStatus.object_lost, b"")
            return
        first = self.numbers(len(tasks))
        self.clock.tell(
            f"{self.name}: the result of {original} is lost; {first} to {first + len(tasks) - 1} make it again"
        )
        self._originals[first + len(tasks) - 1] = original
        self.state.submit(copies(tasks, first, []))
        self.wake()

    def _restore(self, names: bytes) -> None:
        if self.left:
            return
        name_list = [names[i : i + OBJECT_ID_BYTES] for i in range(0, len(names), OBJECT_ID_BYTES)]
        for name in name_list:
            if name in self.objects:
                self.storage.put(self.objects[name], self.identity, name)
        self.state.restored(names, ["" if name in self.objects else "not mine" for name in name_list])
        self.wake()

    def put(self, content: bytes) -> bytes:
        """Put an object, and keep it."""
        name = self.clock.bytes(OBJECT_ID_BYTES)
        self.objects[name] = content
        self.storage.put(content, self.identity, name)
        return name

    def free_objects(self) -> None:
        """No task will need them."""
        for name in self.objects:
            self.storage.release(name, self.identity)
        self.objects.clear()

    def leave(self) -> None:
        """Say goodbye, if there is somebody to say it to, and end."""
        if not self.left:
            self.left = True
            self.state.goodbye()
            self._turn()
            self.books.dropped(self.identity)
            self.stop("left")

    def vanish(self) -> None:
        """Never to be heard of again."""
        self.left = True
        self.books.dropped(self.identity)
        self.kill()
