"""Users: what they submit, cancel and clear, and when they come and go."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from scaler.client.arrays import ArrayTask
from scaler.client.state import Group, Task
from scaler.messages import Function, RunningInside, TaskOptions

from .checkers import Books, Job, Kind
from .clock import Clock
from .nodes import ClientNode

FOREVER = 1e6


@dataclass(frozen=True, slots=True)
class Mix:
    """What kinds of tasks there are, as weights, and how long they run. Times in seconds."""

    kinds: tuple[tuple[Kind, int], ...] = ((Kind.PLAIN, 1),)
    typical: float = 0.001
    long_share: float = 0.0
    """How many are a hundred times as long."""
    capabilities: tuple[str, ...] = ()
    """What some worker offers."""
    special_share: float = 0.0
    """How many have options."""
    object_share: float = 0.0
    """How many take an object that their client has put."""


class User:
    """Somebody who uses a client, as scripts do: defines functions, submits, cancels, leaves."""

    def __init__(self, client: ClientNode, books: Books, mix: Mix) -> None:
        self.client = client
        self.books = books
        self.mix = mix
        self.clock: Clock = client.clock
        self.jobs: list[Job] = []
        self._functions = 0
        self._retired: set[int] = set()
        self._made = 0
        self._sets: list[TaskOptions] = []
        self._arrays: list[tuple[ArrayTask, list[Job]]] = []
        self._object = b""
        client.numbers = self._mint
        self.define()

    def _mint(self, count: int) -> int:
        self._made += count
        return self._made - count

    def begin_again(self, client: ClientNode) -> None:
        """With another client in the place of one that was killed, which knows none of its functions."""
        self._retired.update(range(self._functions))
        self._arrays.clear()
        self.client = client
        self.define()

    # ---- what a user does

    def define(self) -> int:
        """A new function; returns its number."""
        number = self._functions
        self._functions += 1
        self.client.state.define(Function(number, "test", self._content(number), b"", f"f{number}"))
        self.client.wake()
        return number

    def burst(self, count: int) -> list[Job]:
        """Many tasks of one function."""
        function = self.clock.random.choice([n for n in range(self._functions) if n not in self._retired])
        return self._submit([self.job(function=function) for _ in range(count)])

    def array(self, count: int) -> list[Job]:
        """The same as one array: all have the same options."""
        function = self.clock.random.choice([n for n in range(self._functions) if n not in self._retired])
        options = self._options(Kind.PLAIN) if self.clock.chance(self.mix.special_share) else TaskOptions()
        kinds, weights = zip(*[entry for entry in self.mix.kinds if entry[0] is not Kind.ENDLESS], strict=True)
        return self.submit_array(
            [
                self.job(self.clock.random.choices(kinds, weights)[0], function=function, options=options)
                for _ in range(count)
            ]
        )

    def submit_array(self, jobs: list[Job]) -> list[Job]:
        """These, which have one function and one set of options."""
        self.clock.tell(f"{self.client.name}: submits {jobs[0].sequence} to {jobs[-1].sequence} as an array")
        self.jobs += jobs
        self.books.submitted(jobs)
        ends = array("I", accumulate(len(job.payload) for job in jobs))
        items = b"".join(job.payload for job in jobs)
        whole = ArrayTask(jobs[0].sequence, jobs[0].function, items, ends, jobs[0].options)
        self._arrays.append((whole, jobs))
        self.client.state.submit_array(whole)
        self.client.wake()
        return jobs

    def cancel_array(self) -> None:
        open_ones = [entry for entry in self._arrays if entry[0].left]
        if open_ones:
            whole, jobs = self.clock.random.choice(open_ones)
            for job in jobs:
                job.cancelled = True
            self.clock.tell(f"{self.client.name}: cancels the array of {whole.first}")
            self.client.state.cancel_array(whole)
            self.client.wake()

    def graph(self, count: int) -> list[Job]:
        """Tasks that depend on each other: some results are wanted, the last ones always."""
        random = self.clock.random
        jobs: list[Job] = []
        used: set[Job] = set()
        for _ in range(count):
            among = jobs[-8:]
            dependencies = random.sample(among, min(len(among), random.choice((0, 1, 1, 2, 3))))
            used.update(dependencies)
            jobs.append(self.job(function=self._functions - 1, dependencies=tuple(dependencies)))
        for job in jobs:
            job.wanted = job not in used or self.clock.chance(0.2)
        return self._submit(jobs, Group(sum(job.wanted for job in jobs), [job.sequence for job in jobs]))

    def run_inside(self, parent: Job, task: int, worker: bytes, attempt: int) -> list[Job]:
        """What a task submits while it runs: it has this id at this worker. Returns the new tasks."""
        self.client.state.run_inside(RunningInside(task, self._made, worker, attempt))
        jobs = []
        for _ in range(parent.children):
            deeper = parent.levels > 0 and self.clock.chance(0.5)
            jobs.append(self.job(Kind.PARENT if deeper else None))
            jobs[-1].parent, jobs[-1].levels = parent, max(0, parent.levels - 1)
        return self._submit(jobs)

    def submit(self, *jobs: Job, grouped: bool = False) -> None:
        """These tasks."""
        group = Group(sum(job.wanted for job in jobs), [job.sequence for job in jobs]) if grouped else None
        self._submit(list(jobs), group)

    def cancel(self, jobs: list[Job]) -> None:
        """Stop these."""
        wanted = [job for job in jobs if job.wanted]
        for job in wanted:
            job.cancelled = True
        self.clock.tell(f"{self.client.name}: cancels {[job.sequence for job in wanted]}")
        self.client.state.cancel([job.sequence for job in wanted])
        self.client.wake()

    def cancel_some(self) -> None:
        open_jobs = [job for job in self.jobs if job.wanted and job.key not in self.books.outcomes]
        self.cancel(self.clock.random.sample(open_jobs, min(len(open_jobs), self.clock.random.randint(1, 10))))

    def clear(self) -> None:
        """Stop all."""
        self.clock.tell(f"{self.client.name}: clears")
        for job in self.jobs:
            job.cancelled = True
        self.client.state.clear()
        self.client.wake()

    def retire(self) -> None:
        """No more tasks will name the functions."""
        for number in range(self._functions):
            if number not in self._retired:
                self._retired.add(number)
                self.client.retired.add(number)
                self.client.state.retire(number)
        self.client.wake()

    def exchange(self) -> None:
        """New functions instead of the old ones, which tasks may still use."""
        self.retire()
        for _ in range(self.clock.random.randint(1, 3)):
            self.define()

    def forget_about(self) -> None:
        """A task that would run for ever, and is cancelled a little later."""
        job = self.job(Kind.PLAIN, FOREVER, function=self._functions - 1)
        self.submit(job)
        pause = self.clock.random.random() * 0.5
        self.clock.after(pause, lambda: None if self.client.left else self.cancel([job]))

    # ---- tasks

    def job(
        self,
        kind: Kind | None = None,
        seconds: float | None = None,
        function: int = 0,
        options: TaskOptions | None = None,
        dependencies: tuple[Job, ...] = (),
        wanted: bool = True,
    ) -> Job:
        """A task; what is not given is drawn from the mix."""
        random, mix = self.clock.random, self.mix
        if kind is None:
            kinds, weights = zip(*mix.kinds, strict=True)
            kind = random.choices(kinds, weights)[0]
        if options is None and (self.clock.chance(mix.special_share) or kind is Kind.ENDLESS):
            options = self._options(kind)
        if seconds is None:
            seconds = min(random.expovariate(1 / mix.typical), 10 * mix.typical) + 0.000_01
            seconds *= 100 if self.clock.chance(mix.long_share) else 1
        if kind is Kind.ENDLESS:
            seconds = 30.0
        children = random.randint(1, 4) if kind is Kind.PARENT else 0
        return Job(
            self.client.identity,
            self._mint(1),
            kind,
            seconds,
            function,
            self._content(function),
            options,
            dependencies,
            wanted,
            random.randint(1, 3) if kind is Kind.FLAKY else 0,
            random.randrange(3000) if self.clock.chance(0.05) else 0,
            children,
            random.randint(0, 2) if children else 0,
            takes=self._some_object() if mix.object_share and self.clock.chance(mix.object_share) else b"",
        )

    def _some_object(self) -> bytes:
        """An argument that is too large for a message, the same for many tasks."""
        if not self._object or self.clock.chance(0.1):
            self._object = self.client.put(self.clock.bytes(100))
        return self._object

    def _options(self, kind: Kind) -> TaskOptions:
        """One of few sets, so that several tasks share one."""
        random = self.clock.random
        timeout = 40 if kind is Kind.ENDLESS else 0
        fitting = [options for options in self._sets if options.timeout_milliseconds == timeout]
        if fitting and self.clock.chance(0.7):
            return random.choice(fitting)
        needs = [name for name in self.mix.capabilities if self.clock.chance(0.3)]
        options = TaskOptions(needs, random.choice((-3, 0, 0, 1, 7)), random.choice((0, 0, 1, 2)), timeout)
        self._sets.append(options)
        return options

    def _content(self, function: int) -> bytes:
        return self.client.identity + bytes([function])

    def _submit(self, jobs: list[Job], group: Group | None = None) -> list[Job]:
        self.clock.tell(f"{self.client.name}: submits {jobs[0].sequence} to {jobs[-1].sequence}")
        self.jobs += jobs
        self.books.submitted(jobs)
        tasks = [
            Task(
                job.sequence,
                job.function,
                job.payload,
                job.options,
                tuple(dependency.sequence for dependency in job.dependencies),
                job.wanted,
                group,
            )
            for job in jobs
        ]
        if group is not None:
            group.tasks = tasks
        self.client.state.submit(tasks)
        self.client.wake()
        return jobs


def script(user: User, tasks: int, seconds: float) -> None:
    """Enter into the clock what a user does: about so many tasks, over so much time."""
    clock, random = user.clock, user.clock.random
    left = tasks
    while left > 0:
        count = min(left, random.choice((1, 3, 10, 40, 100)))
        left -= count
        submit = random.choices((user.graph, user.burst, user.array), (4, 3, 3))[0]
        _later(user, seconds, lambda submit=submit, count=count: submit(count))
    for _ in range(random.choice((0, 0, 1, 4))):
        _later(user, seconds, user.exchange)
    if clock.chance(0.3):
        _later(user, seconds, user.forget_about)
    for _ in range(random.choice((0, 0, 1, 3))):
        _later(user, seconds, user.cancel_some)
    for _ in range(random.choice((0, 0, 1))):
        _later(user, seconds, user.cancel_array)
    if clock.chance(0.15):
        _later(user, seconds, user.clear)


def _later(user: User, seconds: float, what: Callable[[], object]) -> None:
    """At some time within ``seconds``, if the user is still there; half of everything happens in the beginning."""
    share = 0.05 if user.clock.chance(0.5) else 1.0
    user.clock.after(user.clock.random.random() * seconds * share, lambda: None if user.client.left else what())
