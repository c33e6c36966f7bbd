"""Workers as jobs of Slurm, by the commands that its users know: sbatch, squeue, scancel.

A worker is a job of one node. Its order travels in the batch script, which Slurm keeps where only the user and root can read
it. The job's comment says whose it is: so a later manager finds it, wherever it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import shlex
import sys
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from scaler.config import WORKER_ORDER, Option, interval, natural, seconds
from scaler.errors import ConfigurationError
from scaler.manager.backend import Backend, Phase, Sighting, WorkerOrder
from scaler.manager.baremetal_native import environment
from scaler.manager.template import WorkerTemplate

MOST_SLOTS = 8
"""Of a worker, unless the user says something else: small jobs wait less, and can be given up one by one."""
AT_ONCE = 8
"""How many jobs are submitted at the same time."""
CALL_SECONDS = 60.0
END_SECONDS = 60.0
"""How long stopped jobs are waited for at the end: Slurm sends SIGTERM, and SIGKILL after its KillWait, 30 s by default."""
LOOK_SECONDS = 0.2
TIMED_OUT = "Socket timed out"
"""What Slurm's commands say when the controller did not answer in time."""
MARK = "scaler-worker"
FORMAT = "%i|%T|%C|%r|%N|%k"
PENDING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
ENDED = {
    "BOOT_FAIL": "its node did not boot",
    "CANCELLED": "was cancelled",
    "COMPLETED": "ended in order",
    "DEADLINE": "reached its deadline",
    "FAILED": "failed",
    "NODE_FAIL": "lost its node",
    "OUT_OF_MEMORY": "ran out of memory",
    "PREEMPTED": "was preempted",
    "REVOKED": "was revoked",
    "TIMEOUT": "reached its time limit",
}
"""States of jobs that are over. What is in neither table counts as running: it may be, and is waited for."""
HOPELESS = {
    "BadConstraints",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
    "PartitionNodeLimit",
    "PartitionTimeLimit",
}
"""Why pending jobs wait that no waiting helps."""
OUT_OF_SERVICE = {"down", "drained", "draining", "fail", "failing", "unknown"}
"""States of nodes, without the sign behind them."""

OPTIONS = (
    Option("partition", "the partition of the jobs; Slurm's default one without it", short="-sp"),
    Option("account", "the account that they are charged to"),
    Option("qos", "their quality of service"),
    Option("time_limit", "of each job, as Slurm writes it: 04:00:00, 2-12; the partition's without it"),
    Option("cpus_per_slot", "how many CPUs of Slurm a task gets", 1, natural),
    Option("memory_per_cpu", "as Slurm writes it: 2G; the partition's without it"),
    Option("gres", "what else a job has: gpu:1"),
    Option("constraint", "features that nodes must have"),
    Option("sbatch_arguments", "more for sbatch, as on a command line: '--exclusive --reservation=x'", ""),
    Option("remote_python", "the Python of the nodes, which has Scaler installed", sys.executable),
    Option(
        "log_directory",
        "where workers write what they print, a directory of all nodes; nowhere without it",
    ),
    Option(
        "grace_seconds",
        "how long before its time limit, or after SIGTERM when it is preempted, a worker takes nothing new",
        30.0,
        seconds,
    ),
    Option("slurm_poll_seconds", "how often to ask Slurm about the jobs", 5.0, interval),
)


def check(options: Namespace) -> None:
    """See scaler.manager.kinds.Kind."""
    try:
        shlex.split(options.sbatch_arguments)
    except ValueError as error:
        raise ConfigurationError(f"--sbatch-arguments {options.sbatch_arguments!r}: {error}") from None


def make(options: Namespace, template: WorkerTemplate) -> Backend:
    """See scaler.manager.kinds.Kind."""
    return SlurmWorkers(options, template)


class SlurmError(OSError):
    """A command of Slurm failed, or could not be run; the text is its own."""


class NoAnswerError(SlurmError):
    """What was asked for may have been done."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job of this manager, as squeue tells it."""

    number: str
    state: str
    cpus: int
    reason: str
    node: str
    worker: str

    @property
    def hopeless(self) -> bool:
        return self.state == "PENDING" and self.reason in HOPELESS


class SlurmWorkers:
    """A scaler.manager.backend.Backend."""

    def __init__(self, options: Namespace, template: WorkerTemplate) -> None:
        self.poll_seconds: float = options.slurm_poll_seconds
        self.changed: Callable[[], None] = lambda: None
        self._options = options
        self._template = template.with_grace(options.grace_seconds)
        self._most = 0
        self._node_cpus = 0
        self._jobs: dict[str, str] = {}
        """Number of the job by the worker's name, of those that are not over."""
        self._cancelled: set[str] = set()
        self._calls = asyncio.Semaphore(AT_ONCE)

    @property
    def most_slots(self) -> int:
        """See Backend: what the nodes of the partition have."""
        return self._most

    @property
    def worker_slots(self) -> int:
        """See Backend."""
        per_slot: int = self._options.cpus_per_slot
        return max(1, min(self._node_cpus // per_slot, MOST_SLOTS))

    def describe(self, order: WorkerOrder) -> str:
        """See Backend."""
        return shlex.join(self._submission(order))

    async def prepare(self) -> None:
        """See Backend. Slurm is asked whether it would take a job of one worker."""
        where = ["-p", self._options.partition] if self._options.partition else []
        try:
            shown = await self._call(["sinfo", "-h", "-N", "-o", "%N|%c|%T|%P", *where])
            nodes: Counter[str] = Counter()
            for line in shown.splitlines():  # One for each partition of a node.
                node, _, rest = line.partition("|")
                nodes[node] = max(nodes[node], _usable_cpus(rest, any_partition=bool(where)))
            cpus = [count for count in nodes.values() if count >= self._options.cpus_per_slot]
            if not cpus:
                which = f"partition {self._options.partition}" if where else "the default partition"
                raise ConfigurationError(f"Slurm has no usable nodes in {which}; sinfo shows what there is")
            self._node_cpus = min(cpus)
            self._most = sum(count // self._options.cpus_per_slot for count in cpus)
            order = WorkerOrder(f"{self._template.manager}-test", self._options.slots_per_worker or self.worker_slots)
            await self._call([*self._submission(order), "--test-only"], self._script(order))
        except SlurmError as error:
            raise ConfigurationError(f"Slurm would not run workers: {error}") from None

    async def start(self, orders: Sequence[WorkerOrder]) -> list[Sighting]:
        """See Backend."""
        return list(await asyncio.gather(*(self._submit(order) for order in orders)))

    async def stop(self, names: Sequence[str]) -> None:
        """See Backend."""
        await self._cancel([self._jobs[name] for name in names if name in self._jobs])

    async def _cancel(self, numbers: Sequence[str]) -> None:
        if numbers:
            self._cancelled.update(numbers)
            with contextlib.suppress(SlurmError):  # Of those that do not run yet.
                await self._call(["scancel", "--batch", "--signal=TERM", *numbers])
            # A worker that has a grace time ends at the second signal.
            await self._call(["scancel", *numbers])

    async def list(self) -> list[Sighting]:
        """See Backend."""
        seen = []
        for job in await self._look():
            if job.state in ENDED or job.hopeless:
                # Others were told before, or are of a manager that is gone.
                if self._jobs.pop(job.worker, None) is not None:
                    seen.append(await self._ended(job))
                if job.hopeless:
                    await self._cancel([job.number])
            else:
                self._jobs[job.worker] = job.number
                phase = Phase.PENDING if job.state in PENDING else Phase.RUNNING
                label = f"job {job.number}" + (f" on {job.node}" if job.node else "")
                seen.append(Sighting(job.worker, phase, job.cpus // self._options.cpus_per_slot, label))
        return seen

    async def close(self) -> None:
        """See Backend."""
        deadline = asyncio.get_running_loop().time() + END_SECONDS
        while self._cancelled and asyncio.get_running_loop().time() < deadline:
            try:
                there = {job.number for job in await self._look() if job.state not in ENDED}
            except SlurmError:
                return
            self._cancelled &= there
            if self._cancelled:
                await asyncio.sleep(LOOK_SECONDS)

    # ---- jobs

    def _submission(self, order: WorkerOrder) -> Sequence[str]:
        """The command that takes the script on its standard input."""
        options = self._options
        log_file = Path(options.log_directory, f"{order.name}.out") if options.log_directory else "/dev/null"
        command = ["sbatch", "--parsable", f"--job-name={order.name}", f"--comment={self._mark}{order.name}"]
        command += ["--nodes=1", "--ntasks=1", f"--cpus-per-task={order.slots * options.cpus_per_slot}"]
        command += ["--no-requeue", f"--output={log_file}"]
        if options.grace_seconds:
            command.append(f"--signal=B:TERM@{max(1, round(options.grace_seconds))}")
        told = {"partition": "partition", "account": "account", "qos": "qos", "time_limit": "time"}
        told |= {"memory_per_cpu": "mem-per-cpu", "gres": "gres", "constraint": "constraint"}
        command += [f"--{flag}={getattr(options, name)}" for name, flag in told.items() if getattr(options, name)]
        return command + shlex.split(options.sbatch_arguments)

    def _script(self, order: WorkerOrder) -> str:
        told = shlex.quote(self._template.fill(order))
        return f"#!/bin/sh\nexport {WORKER_ORDER}={told}\nexec {shlex.quote(self._options.remote_python)} -P -m scaler.worker\n"

    @property
    def _mark(self) -> str:
        """What the comments of this manager's jobs begin with."""
        return f"{MARK} {quote(self._template.manager, safe='')} "

    async def _submit(self, order: WorkerOrder) -> Sighting:
        try:
            answer = await self._call(self._submission(order), self._script(order))
        except NoAnswerError:
            # If it was taken, it is found by its name, and gone if not: another one now might be one too many.
            return Sighting(order.name, Phase.PENDING, order.slots)
        except SlurmError as error:
            return Sighting(order.name, Phase.ENDED, story=f"Slurm does not take a job: {error}")
        number = answer.strip().partition(";")[0]
        self._jobs[order.name] = number
        return Sighting(order.name, Phase.PENDING, order.slots, f"job {number}")

    async def _look(self) -> Sequence[Job]:
        """All jobs of this manager that Slurm remembers."""
        shown = await self._call(["squeue", "-h", "--me", "-t", "all", "-o", FORMAT])
        jobs = []
        for line in shown.splitlines():
            number, state, cpus, reason, node, comment = line.split("|", 5)
            if comment.startswith(self._mark):
                jobs.append(Job(number, state, int(cpus), reason, node, comment.removeprefix(self._mark)))
        return jobs

    async def _ended(self, job: Job) -> Sighting:
        if job.hopeless:
            return Sighting(job.worker, Phase.ENDED, story=f"job {job.number} would never run: {job.reason}")
        story = f"job {job.number} {ENDED[job.state]}"
        if job.state == "FAILED":
            story += await self._exit_code(job)
        return Sighting(job.worker, Phase.ENDED, story=story + self._last_words(job), orderly=job.state == "COMPLETED")

    async def _exit_code(self, job: Job) -> str:
        try:
            shown = await self._call(["scontrol", "-o", "show", "job", job.number])
        except SlurmError:
            return ""
        found = re.search(r" ExitCode=(\d+):(\d+)", shown)
        if found is None:
            return ""
        return f" by signal {found[2]}" if found[2] != "0" else f" with exit code {found[1]}"

    def _last_words(self, job: Job) -> str:
        if self._options.log_directory and job.state != "COMPLETED":
            try:
                lines = Path(self._options.log_directory, f"{job.worker}.out").read_text(errors="replace").splitlines()
            except OSError:
                return ""
            return f"; its last words: {lines[-1][:400]}" if lines else ""
        return ""

    # ---- commands

    async def _call(self, command: Sequence[str], text: str = "") -> str:
        """What a command prints. Raises SlurmError."""
        async with self._calls:
            try:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    env=environment(),
                    start_new_session=True,
                )
            except FileNotFoundError:
                raise SlurmError(f"{command[0]} is not installed here, or not in PATH") from None
            except OSError as error:
                raise SlurmError(f"cannot run {command[0]}: {error.strerror}") from None
            try:
                out, said = await asyncio.wait_for(process.communicate(text.encode()), CALL_SECONDS)
            except TimeoutError:
                raise NoAnswerError(f"{command[0]} did not answer within {CALL_SECONDS:g} s") from None
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            text = f"{command[0]}: {'; '.join(lines) or f'exit code {process.returncode}'}"
            raise (NoAnswerError if TIMED_OUT in text else SlurmError)(text)
        return out.decode(errors="replace")


def _usable_cpus(line: str, any_partition: bool) -> int:
    """Of a node in a partition: its CPUs, or 0 if it is out of service, or not in the default partition, which has a star."""
    cpus, state, partition = line.split("|")
    serves = state.rstrip("*~#!%$@^-").lower() not in OUT_OF_SERVICE
    return int(cpus) if serves and (any_partition or partition.endswith("*")) else 0
