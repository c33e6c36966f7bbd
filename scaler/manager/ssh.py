"""Workers on hosts that ssh reaches, by the system's own ssh: its configuration, keys, agents and jump hosts apply.

For each step a connection is made (or an open one used again), which runs ``scaler.manager.ssh_host`` there. Workers belong
to no connection: they go on when it breaks, and when the manager is gone, and are found again.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import tempfile
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scaler.config import Option, count
from scaler.errors import ConfigurationError
from scaler.manager.backend import Backend, Phase, Sighting, WorkerOrder
from scaler.manager.template import WorkerTemplate
from scaler.net.daemon import log

CONNECT_SECONDS = 10
CALL_SECONDS = 60.0
POLL_SECONDS = 5.0
PATIENCE_SECONDS = 5.0


def host(text: str) -> tuple[str, int]:
    """An option's type: ``host`` or ``user@host``, with its slots behind it where they are said: ``host=8``."""
    name, sign, number = text.partition("=")
    slots = int(number) if number.isdecimal() else 0
    if (sign and not slots) or not name or name.startswith("-"):
        raise ValueError(f"{text!r} is no host; write host, user@host, or host=8 for eight slots")
    return name, slots


OPTIONS = (
    Option("hosts", "where to run workers: host, user@host, or host=8 for so many slots", (), host, many=True),
    Option("slots_per_host", "of hosts without a number of their own; 0: as many as they have CPUs", 0, count),
    Option("remote_python", "the Python of the hosts, which has Scaler installed", "python3"),
    Option("ssh_config", "a configuration file for ssh, instead of the user's", value="FILE"),
)


def check(options: Namespace) -> None:
    """See scaler.manager.kinds.Kind."""
    if not options.hosts:
        raise ConfigurationError("--hosts is missing: say where to run workers, as user@host or host=8")
    twice = [name for name, times in Counter(name for name, _ in options.hosts).items() if times > 1]
    if twice:
        raise ConfigurationError(f"--hosts: {twice[0]} is there twice")


def make(options: Namespace, template: WorkerTemplate) -> Backend:
    """See scaler.manager.kinds.Kind."""
    hosts = [Host(name, slots or options.slots_per_host) for name, slots in options.hosts]
    ssh = ["ssh", *(["-F", options.ssh_config] if options.ssh_config else [])]
    return SshWorkers(template, hosts, ssh, options.remote_python, options.slots_per_worker)


@dataclass(slots=True)
class Host:
    """One host."""

    name: str
    """As ssh takes it."""
    slots: int
    """0: not known yet."""
    answers: bool = False
    problem: str = ""
    workers: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Name to (pid, slots) of workers that run there, as it told last."""

    @property
    def used(self) -> int:
        return sum(slots for _, slots in self.workers.values())

    @property
    def free(self) -> int:
        return self.slots - self.used


class SshWorkers:
    """A scaler.manager.backend.Backend."""

    def __init__(
        self, template: WorkerTemplate, hosts: Sequence[Host], ssh: Sequence[str], python: str, worker_slots: int = 0
    ) -> None:
        self.poll_seconds = POLL_SECONDS
        self.changed: Callable[[], None] = lambda: None
        self._template = template
        self._hosts = list(hosts)
        self._ssh = list(ssh)
        self._python = python
        self._given = worker_slots
        self._sockets = tempfile.TemporaryDirectory(prefix="scaler-ssh-", ignore_cleanup_errors=True)

    @property
    def most_slots(self) -> int:
        """See Backend: in whole workers, of the hosts that answer; of others what runs there, which is to go on."""
        one = self.worker_slots
        return sum(host.slots // one * one if host.answers else host.used for host in self._hosts)

    @property
    def worker_slots(self) -> int:
        """One worker for each host, or several on the larger ones."""
        known = [host.slots for host in self._hosts if host.slots]
        return self._given or min(known, default=1)

    def describe(self, order: WorkerOrder) -> str:
        """See Backend."""
        hosts = ", ".join(host.name for host in self._hosts if host.answers)
        return f"{self._python} -m scaler.worker, {order.slots} slots, as {order.name}, on one of {hosts}"

    async def prepare(self) -> None:
        """See Backend."""
        await self._look()
        if not any(host.answers for host in self._hosts):
            self._sockets.cleanup()
            raise ConfigurationError(f"none of the hosts answers: {'; '.join(h.problem for h in self._hosts)}")

    async def start(self, orders: Sequence[WorkerOrder]) -> list[Sighting]:
        """See Backend. Each goes to the host that has most room."""
        chosen: dict[str, list[WorkerOrder]] = {}
        seen: list[Sighting] = []
        for order in orders:
            fitting = [host for host in self._hosts if host.answers and host.free >= order.slots]
            if fitting:
                host = max(fitting, key=lambda host: host.free)
                host.workers[order.name] = 0, order.slots
                chosen.setdefault(host.name, []).append(order)
            else:
                seen.append(Sighting(order.name, Phase.ENDED, story=f"no host has {order.slots} free slots"))
        by_name = {host.name: host for host in self._hosts}
        for told in await asyncio.gather(*(self._start_at(by_name[name], some) for name, some in chosen.items())):
            seen += told
        return seen

    async def _start_at(self, host: Host, orders: Sequence[WorkerOrder]) -> list[Sighting]:
        wanted = [[order.name, order.slots, self._template.fill(order)] for order in orders]
        answer = await self._call(host, {"do": "start", "orders": wanted})
        if answer is None:
            answer = {"started": [], "failed": [[order.name, host.problem] for order in orders]}
        seen = []
        for name, pid in answer["started"]:
            host.workers[name] = pid, host.workers[name][1]
            seen.append(Sighting(name, Phase.RUNNING, label=self._label(host, pid)))
        for name, reason in answer["failed"]:
            del host.workers[name]
            seen.append(Sighting(name, Phase.ENDED, story=f"a worker could not be started on {host.name}: {reason}"))
        return seen

    async def stop(self, names: Sequence[str]) -> None:
        """See Backend."""
        calls = []
        for host in self._hosts:
            here = [name for name in names if name in host.workers]
            if here:
                calls.append(self._call(host, {"do": "stop", "names": here, "seconds": PATIENCE_SECONDS}))
        await asyncio.gather(*calls)

    async def list(self) -> list[Sighting]:
        """See Backend. Of a host that does not answer, its workers are taken to be as they were."""
        ended = await self._look()
        return [
            *ended,
            *(
                Sighting(name, Phase.RUNNING, slots, self._label(host, pid))
                for host in self._hosts
                for name, (pid, slots) in host.workers.items()
            ),
        ]

    async def close(self) -> None:
        """See Backend."""
        await asyncio.gather(*(self._run(host, ["-O", "exit"], "") for host in self._hosts))
        self._sockets.cleanup()

    # ---- hosts

    @staticmethod
    def _label(host: Host, pid: int) -> str:
        return f"worker {pid} on {host.name}"

    async def _look(self) -> Sequence[Sighting]:
        """See what runs on all hosts; returns what has ended since the last time."""
        return [s for ended in await asyncio.gather(*map(self._look_at, self._hosts)) for s in ended]

    async def _look_at(self, host: Host) -> Sequence[Sighting]:
        answered, problem = host.answers, host.problem
        answer = await self._call(host, {"do": "look"})
        if answer is None:
            if answered or host.problem != problem:
                log.warning("%s; it is asked for nothing until it answers", host.problem)
            return []
        if problem:
            log.info("%s answers again", host.name)
        host.slots = host.slots or answer["cpus"]
        before, host.workers = host.workers, {name: (pid, slots) for name, pid, slots in answer["workers"]}
        return await self._autopsy(host, {name: pid for name, (pid, _) in before.items() if name not in host.workers})

    async def _autopsy(self, host: Host, gone: dict[str, int]) -> Sequence[Sighting]:
        """How workers ended nobody knows, but they may have said something."""
        if not gone:
            return []
        answer = await self._call(host, {"do": "tell", "names": list(gone)}) or {"tails": {}}
        return [self._end(host, name, pid, answer["tails"].get(name, "")) for name, pid in gone.items()]

    def _end(self, host: Host, name: str, pid: int, tail: str) -> Sighting:
        last = tail.splitlines()[-1] if tail else ""
        story = f"{self._label(host, pid)} ended" + (f"; its last words: {last}" if last else "")
        return Sighting(name, Phase.ENDED, story=story, orderly=last.endswith(": drained"))

    async def _call(self, host: Host, asked: dict[str, Any]) -> dict[str, Any] | None:
        """What the host answers; None, with its ``problem`` set, if it does not."""
        asked["manager"] = f"{self._template.manager}@{host.name}"
        command = f"{shlex.quote(self._python)} -m scaler.manager.ssh_host"
        code, out, error = await self._run(host, [command], json.dumps(asked))
        try:
            if code:
                raise ValueError((error or out).strip().splitlines()[-1] if (error or out).strip() else f"code {code}")
            answer: dict[str, Any] = json.loads(out.splitlines()[-1])
        except (ValueError, IndexError) as problem:
            host.answers, host.problem = False, f"{host.name} does not answer as it should: {problem}"
            return None
        host.answers, host.problem = True, ""
        return answer

    async def _run(self, host: Host, words: Iterable[str], text: str) -> tuple[int, str, str]:
        """Exit code, standard output and standard error of ssh to a host."""
        options = (
            "BatchMode=yes",
            f"ConnectTimeout={CONNECT_SECONDS}",
            "ControlMaster=auto",
            f"ControlPath={self._sockets.name}/%C",
            "ControlPersist=60",
        )
        flags = [part for option in options for part in ("-o", option)]
        words = list(words)
        target = [*words, host.name] if words[0].startswith("-") else [host.name, *words]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._ssh,
                *flags,
                *target,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            return 255, "", f"cannot run {self._ssh[0]}: {error}"
        try:
            out, error_text = await asyncio.wait_for(process.communicate(text.encode()), CALL_SECONDS)
        except TimeoutError:
            return 255, "", f"no answer within {CALL_SECONDS:g} s"
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return process.returncode or 0, out.decode(errors="replace"), error_text.decode(errors="replace")
