"""What holds for every policy and every snapshot."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from scaler.scheduler.policy import SCALINGS, Policy
from scaler.scheduler.scaling.snapshot import UNMANAGED, Snapshot
from scaler.scheduler.scaling.waterfall import Rule

from .builders import Manager, Tasks, Worker, asked, snapshot

NAMES = ("a", "b", "c")
SETS = st.sampled_from(("", "gpu", "big", "gpu big"))
POLICIES = st.one_of(
    st.builds(Policy, scaling=st.sampled_from(SCALINGS), target_seconds=st.sampled_from((0.5, 10.0, 60.0))),
    st.builds(
        lambda priorities, most: Policy(scaling="waterfall", rules=tuple(map(Rule, priorities, NAMES, most))),
        st.permutations((1, 2, 3)),
        st.lists(st.integers(-1, 20), min_size=3, max_size=3),
    ),
)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    needs = draw(st.lists(SETS, max_size=4, unique=True))
    counts = st.integers(0, 200)
    tasks = [Tasks(draw(counts), need, draw(st.sampled_from((0.0, 0.001, 1.0, 100.0)))) for need in needs]
    managers = [
        Manager(name, draw(st.integers(0, 30)), draw(st.integers(0, 10)), draw(st.integers(0, 40)), draw(SETS), tier)
        for name, tier in zip(NAMES, draw(st.lists(st.integers(0, 2), max_size=3)), strict=False)
    ]
    workers = []
    for _ in range(draw(st.integers(0, 5))):
        slots = draw(st.integers(1, 8))
        worker = Worker(slots, manager=draw(st.sampled_from(["", *(m.name for m in managers)])), offers=draw(SETS))
        if tasks:
            worker.busy = draw(st.integers(0, slots))
            worker.queued = draw(st.integers(0, 10)) if worker.busy == slots else 0
            worker.holds = draw(st.integers(0, len(tasks) - 1))
        workers.append(worker)
    return snapshot(*tasks, *workers, *managers)


@given(POLICIES, snapshots())
def test_never_negative_and_never_more_than_there_is(policy: Policy, seen: Snapshot) -> None:
    wanted = policy.wanted(seen)
    assert len(wanted.slots) == len(wanted.sets) == len(seen.manager_names)
    for slots, most, sets in zip(wanted.slots, seen.manager_most, wanted.sets, strict=True):
        assert 0 <= slots <= most
        assert all(count > 0 for count in sets.values())
        assert sum(sets.values()) <= slots


@given(POLICIES, snapshots())
def test_nothing_is_asked_for_twice(policy: Policy, seen: Snapshot) -> None:
    """Once it is starting, the same need asks for no more."""
    wanted = policy.wanted(seen)
    again = policy.wanted(asked(seen, wanted))
    assert all(
        second <= max(first, before)
        for first, second, before in zip(wanted.slots, again.slots, seen.manager_desired, strict=True)
    )


@given(POLICIES, snapshots())
def test_no_more_than_a_slot_for_each_task(policy: Policy, seen: Snapshot) -> None:
    tasks = sum(seen.demand()) + sum(seen.worker_busy)
    wanted = policy.wanted(replace(seen, manager_desired=(0,) * len(seen.manager_names)))
    assert sum(wanted.slots) <= tasks


@given(POLICIES, snapshots())
def test_slots_are_for_tasks_that_can_run_there(policy: Policy, seen: Snapshot) -> None:
    for sets, offers in zip(policy.wanted(seen).sets, seen.manager_offers, strict=True):
        assert all(seen.needs[of_class] <= offers for of_class in sets)


@given(POLICIES.filter(lambda policy: policy.scaling not in ("no", "waterfall")), snapshots())
def test_a_task_that_some_manager_could_run_never_waits_for_ever(policy: Policy, seen: Snapshot) -> None:
    """Where no slot that could run it is there or starting, one is asked for, unless all that could be are taken."""
    wanted = policy.wanted(seen)
    for of_class, count in enumerate(seen.demand()):
        needs = seen.needs[of_class]
        serving = seen.serving(of_class)
        there = any(needs <= offers for offers in seen.worker_offers)
        if count and serving and not there and not any(seen.manager_starting[m] for m in serving):
            full = all(wanted.slots[m] == seen.manager_most[m] for m in serving)
            assert full or any(wanted.slots[m] for m in serving)


@given(snapshots())
def test_a_later_rule_gets_nothing_while_the_first_has_room(seen: Snapshot) -> None:
    seen = replace(
        seen,
        manager_offers=tuple(frozenset(("gpu", "big")) for _ in seen.manager_names),
        worker_offers=tuple(frozenset() if m == UNMANAGED else frozenset(("gpu", "big")) for m in seen.worker_manager),
    )
    policy = Policy(scaling="waterfall", rules=tuple(Rule(i, name, -1) for i, name in enumerate(NAMES)))
    wanted = policy.wanted(seen).slots
    for first, (slots, most) in enumerate(zip(wanted, seen.manager_most, strict=True)):
        assert slots == most or not any(wanted[first + 1 :])
