"""What an operator may say about policy: ``allocate=even_load; scaling=vanilla``, or the rules of a waterfall."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from scaler.errors import ConfigurationError
from scaler.scheduler.scaling.ratio import capability, vanilla
from scaler.scheduler.scaling.snapshot import Snapshot, Wanted
from scaler.scheduler.scaling.target_time import target_time
from scaler.scheduler.scaling.waterfall import UNLIMITED, Rule, waterfall

ENGINES = ("simple", "waterfall_v1")
ALLOCATIONS = ("even_load", "capability")
SCALINGS = ("no", "vanilla", "capability", "target_time")


@dataclass(frozen=True, slots=True)
class Policy:
    """Both allocations spread tasks evenly over the workers that offer what they ask for.

    Scaling speaks to dynamic worker managers; fixed ones keep their number of slots.
    """

    allocate: str = "even_load"
    scaling: str = "vanilla"
    """One of SCALINGS, or ``waterfall``, which goes by the rules."""
    idle_seconds: float = 10.0
    """Slots are given up when they have not been wanted for so long."""
    target_seconds: float = 60.0
    """Of scaling=target_time."""
    rules: tuple[Rule, ...] = ()

    def wanted(self, snapshot: Snapshot) -> Wanted:
        """How many slots each manager is to have."""
        if self.scaling == "vanilla":
            return vanilla(snapshot)
        if self.scaling == "capability":
            return capability(snapshot)
        if self.scaling == "target_time":
            return target_time(snapshot, self.target_seconds)
        if self.scaling == "waterfall":
            return waterfall(snapshot, self.rules)
        stay = tuple(map(min, snapshot.manager_desired, snapshot.manager_most))
        return Wanted(stay, tuple({} for _ in stay))


class _Refused(ValueError):
    """Why a part of the text cannot be used."""


def parse_policy(engine: str, content: str) -> Policy:
    """Raises ConfigurationError, naming the line and the reason, for a text that is no policy."""
    if engine not in ENGINES:
        raise ConfigurationError(f"unknown policy engine {engine!r}; known: {', '.join(ENGINES)}")
    policy = Policy() if engine == "simple" else Policy(scaling="waterfall")
    take = _take_setting if engine == "simple" else _take_rule
    lines = content.splitlines()
    for number, line in enumerate(lines, 1):
        for part in _parts(line):
            try:
                policy = take(policy, part)
            except _Refused as error:
                where = f"policy {content!r}" if len(lines) == 1 else f"policy, line {number} ({line.strip()!r})"
                raise ConfigurationError(f"{where}: {error}") from None
    if engine != "simple" and not policy.rules:
        raise ConfigurationError(
            f"policy {content!r}: no rule; write priority, worker_manager_id, max_task_concurrency"
        )
    return policy


def _parts(line: str) -> Iterator[str]:
    """What stands between semicolons, without comments."""
    return filter(None, (part.strip() for part in line.partition("#")[0].split(";")))


def _take_setting(policy: Policy, part: str) -> Policy:
    name, sign, value = (piece.strip() for piece in part.partition("="))
    if not sign:
        raise _Refused(f"{part!r} is not of the form name=value")
    read = _SETTINGS.get(name)
    if read is None:
        raise _Refused(f"unknown name {name!r}; known: {', '.join(_SETTINGS)}")
    return replace(policy, **{name: read(name, value)})


def _choice(known: tuple[str, ...]) -> Callable[[str, str], str]:
    def read(name: str, value: str) -> str:
        if value not in known:
            raise _Refused(f"{name}={value!r} is none of {', '.join(known)}")
        return value

    return read


def _seconds(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise _Refused(f"{name}={value!r} is no time in seconds, greater than 0")
    return number


_SETTINGS: dict[str, Callable[[str, str], Any]] = {
    "allocate": _choice(ALLOCATIONS),
    "scaling": _choice(SCALINGS),
    "idle_seconds": _seconds,
    "target_seconds": _seconds,
}


def _take_rule(policy: Policy, part: str) -> Policy:
    """``priority, worker_manager_id, max_task_concurrency``, or ``idle_seconds=number``."""
    if "=" in part:
        if part.partition("=")[0].strip() != "idle_seconds":
            raise _Refused(f"{part!r}: beside rules there can only be idle_seconds=number")
        return _take_setting(policy, part)
    pieces = [piece.strip() for piece in part.split(",")]
    if len(pieces) != 3:
        raise _Refused(f"{part!r} has {len(pieces)} parts; write priority, worker_manager_id, max_task_concurrency")
    priority, most = _whole("priority", pieces[0]), _whole("max_task_concurrency", pieces[2])
    if not pieces[1]:
        raise _Refused("worker_manager_id is empty")
    if most < 1 and most != UNLIMITED:
        raise _Refused(f"max_task_concurrency {most} is less than 1, and not {UNLIMITED}, which means no limit")
    if any(rule.manager == pieces[1] for rule in policy.rules):
        raise _Refused(f"there is a rule for {pieces[1]!r} already")
    return replace(policy, rules=(*policy.rules, Rule(priority, pieces[1], most)))


def _whole(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise _Refused(f"{name} {text!r} is no whole number") from None
