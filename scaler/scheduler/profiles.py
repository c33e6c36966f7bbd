"""Profiles that monitors have asked for: which workers are asked, and when it is over. What these find is passed on at once."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from scaler.display import plural
from scaler.ids import IDENTITY_BYTES, u32
from scaler.machine import Outbox
from scaler.messages import BeginSampling, EndSampling, ProfilePart, ProfileTasks, StackSamples
from scaler.scheduler.sessions import WorkerSession
from scaler.stacks import check

MOST_PROFILES = 8
MOST_WORKERS = 100
"""Of one profile. What is true of these is true of the others, mostly."""
MOST_MILLISECONDS = 600_000
MOST_HERTZ, USUAL_HERTZ = 1000, 100
TELL_MILLISECONDS, TELL_MILLISECONDS_PER_WORKER = 1000, 50
"""How often a worker tells what it found: less often when there are many of them."""
GRACE_SECONDS = 5.0
"""How long after its time workers may say what is left."""


@dataclass(slots=True, eq=False)
class _Profile:
    """One profile. Workers are named by the number of their connection, which is never used again."""

    number: int
    monitor: int
    asked: ProfileTasks
    ends: float
    workers: set[int] = field(default_factory=set)
    """That were asked."""
    open: set[int] = field(default_factory=set)
    """Those that have more to say."""
    executors: dict[int, int] = field(default_factory=dict)
    """By worker, how many it asked."""
    lost: int = 0
    left_out: int = 0
    """Workers that were not asked, since there are too many."""
    executors_lost: int = 0
    executors_silent: int = 0


class Profiles:
    """All that go on."""

    def __init__(self, out: Outbox) -> None:
        self.due: float | None = None
        """When end_if_done() should come."""
        self._out = out
        self._running: dict[int, _Profile] = {}
        self._numbers = 0

    def __bool__(self) -> bool:
        return bool(self._running) or self.due is not None

    # ---- from monitors

    def begin(
        self, monitor: int, message: ProfileTasks, workers: Callable[[], Collection[WorkerSession]], now: float
    ) -> tuple[bool, str]:
        """A monitor wants a profile; returns whether it gets one, and what or why not."""
        wrong = self._wrong(monitor, message)
        if wrong:
            return False, wrong
        concerned = [worker for worker in workers() if message.worker in (b"", worker.identity)]
        if message.worker and not concerned:
            return False, f"no worker {message.worker.hex()[:8]} is connected"
        message.hertz = message.hertz or USUAL_HERTZ
        self._numbers += 1
        profile = _Profile(self._numbers, monitor, message, now + message.milliseconds / 1000)
        self._running[profile.number] = profile
        for worker in concerned:
            self._ask(profile, worker, len(concerned), now)
        how = f"{message.hertz} times a second for {message.milliseconds / 1000:g} s"
        return True, f"a profile of {plural(len(profile.workers), 'worker')}, {how}"

    def _wrong(self, monitor: int, message: ProfileTasks) -> str:
        """What is wrong with it, for people."""
        u32(message.slots)
        if not 1 <= message.milliseconds <= MOST_MILLISECONDS:
            return f"a profile may take up to {MOST_MILLISECONDS // 1000} s"
        if message.hertz > MOST_HERTZ:
            return f"a profile may look up to {MOST_HERTZ} times a second"
        if message.worker and len(message.worker) != IDENTITY_BYTES:
            return f"a worker's identity has {IDENTITY_BYTES} bytes"
        if len(message.slots) and not message.worker:
            return "slots are those of one worker, which is not named"
        if any((p.monitor, p.asked.request) == (monitor, message.request) for p in self._running.values()):
            return f"there is a profile of request {message.request} already"
        if len(self._running) >= MOST_PROFILES:
            return f"there are {MOST_PROFILES} profiles already; wait until one of them has ended"
        return ""

    def stop(self, monitor: int, request: int, now: float) -> None:
        """A monitor has seen enough. What is on the way is told still."""
        for profile in self._running.values():
            if (profile.monitor, profile.asked.request) == (monitor, request):
                self._stop(profile, now)

    def monitor_gone(self, monitor: int, now: float) -> None:
        """Nobody listens any more."""
        for profile in [p for p in self._running.values() if p.monitor == monitor]:
            self._stop(profile, now)
            del self._running[profile.number]

    def _stop(self, profile: _Profile, now: float) -> None:
        if now < profile.ends:
            profile.ends = now
            for worker in sorted(profile.open):
                self._out.send(worker, EndSampling(profile.number))

    # ---- workers

    def worker_came(self, worker: WorkerSession, workers: int, now: float) -> None:
        """One more, of so many."""
        for profile in self._running.values():
            if now < profile.ends and profile.asked.worker in (b"", worker.identity):
                self._ask(profile, worker, workers, now)

    def worker_left(self, worker: WorkerSession) -> None:
        for profile in self._running.values():
            if worker.peer in profile.open:
                profile.open.discard(worker.peer)
                profile.lost += 1

    def _ask(self, profile: _Profile, worker: WorkerSession, workers: int, now: float) -> None:
        if len(profile.workers) >= MOST_WORKERS:
            profile.left_out += 1
            return
        asked = profile.asked
        tell = max(TELL_MILLISECONDS, TELL_MILLISECONDS_PER_WORKER * min(workers, MOST_WORKERS))
        left = max(1, int((profile.ends - now) * 1000))
        begin = BeginSampling(profile.number, left, asked.hertz, tell, asked.slots, asked.function_name)
        self._out.send(worker.peer, begin)
        profile.workers.add(worker.peer)
        profile.open.add(worker.peer)

    def found(self, worker: WorkerSession, samples: StackSamples) -> None:
        """A worker tells. Raises ProtocolError, or ValueError, for columns that do not fit together."""
        check(samples)
        profile = self._running.get(samples.profile)
        if profile is None or worker.peer not in profile.open:
            return
        profile.executors[worker.peer] = samples.executors
        if samples.ended:
            profile.open.discard(worker.peer)
            profile.executors_lost += samples.executors_lost
            profile.executors_silent += samples.executors_silent
        self._out.send(profile.monitor, self._part(profile, samples))

    # ---- ending

    def end_if_done(self, now: float) -> None:
        """End those of which all is told, or the time is over."""
        for profile in list(self._running.values()):
            if not profile.open and profile.asked.worker and profile.workers:
                profile.ends = min(profile.ends, now)  # Its only worker is gone, or has done with it.
            if now >= profile.ends + (GRACE_SECONDS if profile.open else 0):
                del self._running[profile.number]
                part = self._part(profile, StackSamples())
                part.ended, part.text = True, "\n".join(_missing(profile))
                self._out.send(profile.monitor, part)
        ends = [p.ends if now < p.ends else p.ends + GRACE_SECONDS for p in self._running.values()]
        self.due = min(ends, default=None)

    def _part(self, profile: _Profile, samples: StackSamples) -> ProfilePart:
        ended = len(profile.workers) - len(profile.open) - profile.lost
        executors = sum(profile.executors.values())
        return ProfilePart(profile.asked.request, samples, len(profile.workers), ended, executors)


def _missing(profile: _Profile) -> list[str]:
    """What is not in a profile, and why, for people."""
    lines = []
    if not profile.workers:
        lines.append("no worker was there")
    if profile.left_out:
        lines.append(f"{plural(profile.left_out, 'worker')} not asked: a profile is of {MOST_WORKERS} at most")
    if profile.lost:
        lines.append(f"{plural(profile.lost, 'worker')} lost before all was told")
    if profile.open:
        lines.append(f"{plural(len(profile.open), 'worker')} did not say all in time")
    if profile.executors_lost:
        lines.append(f"{plural(profile.executors_lost, 'executor')} ended, or did not answer, before all was told")
    if profile.executors_silent:
        silent = plural(profile.executors_silent, "executor")
        lines.append(
            f"{silent} not looked at: in a call that does not let go of the interpreter, or waits in the system"
        )
    return lines
