"""The worker's part in profiles: which executors are asked, what they found together, and when that is told."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

from scaler.errors import ProtocolError
from scaler.ids import u32
from scaler.machine import Outbox
from scaler.messages import BeginSampling, EndSampling, Message, StackSamples
from scaler.stacks import StackCounts
from scaler.worker.executors import AskForAttention, Executors, Tell

GRACE_SECONDS = 1.0
"""How long after its time executors may say what is left."""
TELL_MILLISECONDS = 500
"""How often executors tell their worker, at the least."""


@dataclass(slots=True, eq=False)
class _Profile:
    """One profile. Executors are named by their numbers."""

    asked: BeginSampling
    ends: float
    next: float
    """When the scheduler is to be told again."""
    counts: StackCounts = field(default_factory=StackCounts)
    executors: set[int] = field(default_factory=set)
    """That were asked."""
    heard: set[int] = field(default_factory=set)
    ended: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)

    @property
    def open(self) -> set[int]:
        """Those that have more to say."""
        return self.executors - self.ended - self.lost


class Profiling:
    """All profiles of a worker. ``tell`` says something to the scheduler."""

    def __init__(self, executors: Executors, out: Outbox, tell: Callable[[Message], None]) -> None:
        self.due: float | None = None
        """When arrange() should come."""
        self._executors = executors
        self._out = out
        self._tell = tell
        self._running: dict[int, _Profile] = {}

    def __bool__(self) -> bool:
        return bool(self._running)

    # ---- told

    def begin(self, message: BeginSampling, now: float) -> None:
        """The scheduler wants a profile. Raises ProtocolError or ValueError for one that cannot be."""
        if not 1 <= message.hertz <= 1000 or not message.tell_milliseconds:
            raise ProtocolError(
                f"a profile of {message.hertz} samples a second, told each {message.tell_milliseconds} ms"
            )
        u32(message.slots)
        self._running[message.profile] = _Profile(
            message, now + message.milliseconds / 1000, now + message.tell_milliseconds / 1000
        )

    def end(self, message: EndSampling, now: float) -> None:
        """The scheduler wants no more of it. What there is is told still."""
        profile = self._running.get(message.profile)
        if profile is not None and now < profile.ends:
            profile.ends = now
            self._end_executors(profile)

    def found(self, executor: int, samples: StackSamples) -> None:
        """An executor tells."""
        profile = self._running.get(samples.profile)
        if profile is not None and executor in profile.executors:
            profile.counts.merge(samples)
            profile.heard.add(executor)
            if samples.ended:
                profile.ended.add(executor)

    def forget_all(self) -> None:
        """The scheduler is gone."""
        for profile in self._running.values():
            self._end_executors(profile)
        self._running.clear()
        self.due = None

    # ---- deciding

    def arrange(self, now: float) -> None:
        """Ask executors that are new, and tell what is due."""
        at_work = {executor.number: executor.slot for executor in self._executors.at_work()}
        for profile in list(self._running.values()):
            profile.lost |= profile.open - at_work.keys()
            if now < profile.ends:
                self._ask(profile, at_work, now)
            elif not profile.open or now >= profile.ends + GRACE_SECONDS:
                self._end(profile)
                continue
            if now >= profile.next:
                profile.next = now + profile.asked.tell_milliseconds / 1000
                self._tell(self._found(profile))
        self.due = min((self._due(profile, now) for profile in self._running.values()), default=None)

    def _due(self, profile: _Profile, now: float) -> float:
        return min(profile.next, profile.ends if now < profile.ends else profile.ends + GRACE_SECONDS)

    def _ask(self, profile: _Profile, at_work: dict[int, int], now: float) -> None:
        """Those who do not know of it yet."""
        asked, slots = profile.asked, u32(profile.asked.slots)
        for number, slot in at_work.items():
            if number not in profile.executors and (not slots or slot in slots):
                profile.executors.add(number)
                left = max(1, int((profile.ends - now) * 1000))
                tell = min(asked.tell_milliseconds, TELL_MILLISECONDS)
                begin = BeginSampling(asked.profile, left, asked.hertz, tell, array("I"), asked.function_name)
                self._out.add(Tell(number, begin))
                self._out.add(AskForAttention(number))

    def _end_executors(self, profile: _Profile) -> None:
        for number in sorted(profile.open):
            self._out.add(Tell(number, EndSampling(profile.asked.profile)))
            self._out.add(AskForAttention(number))

    def _found(self, profile: _Profile) -> StackSamples:
        samples = profile.counts.take(profile.asked.profile)
        samples.executors = len(profile.executors)
        return samples

    def _end(self, profile: _Profile) -> None:
        """All is told, or the time is over. Executors that have not begun need not any more."""
        del self._running[profile.asked.profile]
        self._end_executors(profile)
        samples = self._found(profile)
        samples.ended = True
        silent = profile.open - profile.heard
        samples.executors_silent = len(silent)
        samples.executors_lost = len(profile.lost) + len(profile.open - silent)
        self._tell(samples)
