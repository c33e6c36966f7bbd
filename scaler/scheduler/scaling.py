"""How many slots are wanted of each dynamic worker manager. The policies are pure functions of a snapshot (``Load``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from scaler.scheduler.policy import Policy as Said
from scaler.scheduler.policy import Rule

IDLE_SECONDS = 5.0
"""A worker without work for so long is asked to leave, if fewer slots are wanted than there are."""


@dataclass(frozen=True, slots=True)
class Offer:
    """A dynamic worker manager."""

    name: str
    capabilities: frozenset[str]
    max_slots: int
    wanted: int
    """Slots that were asked of it last. Those that are starting are among them, so nothing is asked for twice."""
    held: int
    """Tasks that its workers have."""


@dataclass(frozen=True, slots=True)
class Load:
    """What there is to do, and who could do it."""

    offers: tuple[Offer, ...]
    """In the order in which they came."""
    ready: Mapping[frozenset[str], int]
    """Tasks that no worker has and that could run now, by what they ask for."""
    others: Mapping[frozenset[str], tuple[int, int]]
    """Slots of workers that no dynamic manager brought, and tasks that these have, by what they offer."""


Policy = Callable[[Load], dict[str, int]]
"""The slots wanted of each offer, by name; 0 to its max_slots."""


def by_ratio(grow: float, shrink: float) -> Policy:
    """Grow above so many tasks a slot, and whenever there are tasks and no slot; shrink below so many.

    In one step: to a slot a task. Offers of the same capabilities are judged together. A task counts where the fewest
    capabilities suffice for it, so that what asks for nothing does not have special workers started.
    """

    def decide(load: Load) -> dict[str, int]:
        wanted = {offer.name: offer.wanted for offer in load.offers}
        for offers, slots, tasks in _kinds(load):
            asked = sum(offer.wanted for offer in offers)
            most = sum(offer.max_slots for offer in offers)
            there = slots + asked
            if tasks > grow * there or (tasks and not there):
                _spread(offers, min(max(tasks - slots, asked), most), wanted)
            elif tasks < shrink * there:
                _spread(offers, min(max(tasks - slots, 0), asked), wanted)
        return wanted

    return decide


def waterfall(rules: Sequence[Rule]) -> Policy:
    """Managers are filled in the order of their rules and emptied in reverse; when it grows and shrinks is as for vanilla."""
    most = {rule.manager: rule.max_slots for rule in rules}
    order = {rule.manager: place for place, rule in enumerate(rules)}

    def decide(load: Load) -> dict[str, int]:
        used = sorted((offer for offer in load.offers if offer.name in most), key=lambda offer: order[offer.name])
        limited = tuple(replace(offer, max_slots=min(offer.max_slots, most[offer.name])) for offer in used)
        return dict.fromkeys((offer.name for offer in load.offers), 0) | _VANILLA(replace(load, offers=limited))

    return decide


_VANILLA = by_ratio(10, 1)
POLICIES: dict[str, Policy] = {
    "no": lambda load: {offer.name: offer.wanted for offer in load.offers},
    "vanilla": _VANILLA,
    "capability": by_ratio(5, 0.5),
}


def policy_of(said: Said) -> Policy:
    """What an operator said, as a function."""
    return waterfall(said.rules) if said.rules else POLICIES[said.scaling]


def _kinds(load: Load) -> list[tuple[list[Offer], int, int]]:
    """For each set of capabilities on offer: its offers, the slots of others that have it too, and the tasks for all these."""
    kinds: dict[frozenset[str], list[Offer]] = {}
    for offer in load.offers:
        kinds.setdefault(offer.capabilities, []).append(offer)
    tasks = {kind: sum(offer.held for offer in offers) for kind, offers in kinds.items()}
    slots = dict.fromkeys(kinds, 0)
    for offered, (count, held) in load.others.items():
        kind = _least(kinds, offered, at_most=True)
        if kind is not None:
            slots[kind] += count
            tasks[kind] += held
    for needs, count in load.ready.items():
        kind = _least(kinds, needs)
        if kind is not None:
            tasks[kind] += count
    return [(offers, slots[kind], tasks[kind]) for kind, offers in kinds.items()]


def _least(
    kinds: Mapping[frozenset[str], object], needs: frozenset[str], at_most: bool = False
) -> frozenset[str] | None:
    """The kind with the fewest capabilities that has all these; ``at_most``: with the most that are all among these."""
    fitting = [kind for kind in kinds if (kind <= needs if at_most else needs <= kind)]
    fitting.sort(key=lambda kind: (-len(kind) if at_most else len(kind), sorted(kind)))
    return fitting[0] if fitting else None


def _spread(offers: list[Offer], total: int, wanted: dict[str, int]) -> None:
    """Have the offers come to ``total`` together: more from the first that can, less from the last that has."""
    missing = total - sum(offer.wanted for offer in offers)
    for offer in offers if missing > 0 else reversed(offers):
        change = min(missing, offer.max_slots - offer.wanted) if missing > 0 else max(missing, -offer.wanted)
        wanted[offer.name] = offer.wanted + change
        missing -= change
