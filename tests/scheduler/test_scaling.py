"""Policies: given this load, exactly so many slots of each manager."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.scheduler.policy import Rule
from scaler.scheduler.scaling import POLICIES, Load, Offer, waterfall

NOTHING: frozenset[str] = frozenset()
GPU, LINUX = frozenset({"gpu"}), frozenset({"linux"})


def offer(name: str, slots: int = 8, wanted: int = 0, held: int = 0, offers: frozenset[str] = NOTHING) -> Offer:
    return Offer(name, offers, slots, wanted, held)


def load(
    *offers: Offer,
    ready: Mapping[frozenset[str], int] | int = 0,
    others: Mapping[frozenset[str], tuple[int, int]] | None = None,
) -> Load:
    return Load(offers, {NOTHING: ready} if isinstance(ready, int) else ready, others or {})


def test_no_leaves_everything_as_it_is() -> None:
    assert POLICIES["no"](load(offer("a", wanted=3), ready=100)) == {"a": 3}


@pytest.mark.parametrize(
    ("wanted", "held", "ready", "slots"),
    [
        (0, 0, 15, 8),  # all at once, as far as there are slots to be had
        (0, 0, 3, 3),
        (2, 2, 18, 2),  # ten tasks a slot are not too many
        (2, 2, 19, 8),
        (8, 8, 0, 8),  # a task a slot is not too little
        (8, 3, 0, 3),
        (8, 0, 0, 0),
        (0, 0, 0, 0),
    ],
)
def test_vanilla(wanted: int, held: int, ready: int, slots: int) -> None:
    assert POLICIES["vanilla"](load(offer("a", wanted=wanted, held=held), ready=ready)) == {"a": slots}


def test_slots_that_are_there_all_the_time_count() -> None:
    there = {NOTHING: (4, 4)}
    assert POLICIES["vanilla"](load(offer("a"), ready=36, others=there)) == {"a": 0}
    assert POLICIES["vanilla"](load(offer("a"), ready=37, others=there)) == {"a": 8}
    assert POLICIES["vanilla"](load(offer("a", wanted=8), ready=2, others=there)) == {"a": 2}


def test_capability_is_sooner_to_grow_and_later_to_shrink() -> None:
    assert POLICIES["capability"](load(offer("a", wanted=1, held=1), ready=5)) == {"a": 6}
    assert POLICIES["capability"](load(offer("a", wanted=8, held=4))) == {"a": 8}
    assert POLICIES["capability"](load(offer("a", wanted=8, held=3))) == {"a": 3}


@pytest.mark.parametrize("policy", ["vanilla", "capability"])
def test_a_task_counts_where_the_least_suffices(policy: str) -> None:
    plain, gpu = offer("plain"), offer("gpu", offers=GPU)
    assert POLICIES[policy](load(gpu, plain, ready=5)) == {"gpu": 0, "plain": 5}
    assert POLICIES[policy](load(gpu, plain, ready={GPU: 5})) == {"gpu": 5, "plain": 0}
    assert POLICIES[policy](load(gpu, ready=5)) == {"gpu": 5}, "nothing else can run them"
    assert POLICIES[policy](load(gpu, plain, ready={LINUX: 5})) == {"gpu": 0, "plain": 0}, "nobody can"


def test_several_of_a_kind_are_filled_in_order_and_emptied_in_reverse() -> None:
    vanilla = POLICIES["vanilla"]
    assert vanilla(load(offer("a", 4), offer("b", 4), ready=6)) == {"a": 4, "b": 2}
    assert vanilla(load(offer("a", 4, 4, 2), offer("b", 4, 2, 1))) == {"a": 3, "b": 0}


def test_a_waterfall_fills_in_the_order_of_its_rules_and_empties_in_reverse() -> None:
    decide = waterfall([Rule(1, "here", 4), Rule(2, "cloud", 30)])
    cloud, here, other = offer("cloud", 50), offer("here", 8), offer("other", wanted=2)
    assert decide(load(cloud, here, other, ready=10)) == {"here": 4, "cloud": 6, "other": 0}
    assert decide(load(cloud, here, ready=100)) == {"here": 4, "cloud": 30}
    full = offer("cloud", 50, wanted=6, held=1), offer("here", 8, wanted=4, held=4)
    assert decide(load(*full)) == {"here": 4, "cloud": 1}
    assert decide(load(offer("cloud", 50, wanted=1), offer("here", 8, wanted=4, held=1))) == {"here": 1, "cloud": 0}


OFFERS = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 9), st.sampled_from([NOTHING, GPU, GPU | LINUX])), max_size=4
)
COUNTS = st.dictionaries(st.sampled_from([NOTHING, GPU, LINUX]), st.integers(0, 200))
OTHERS = st.dictionaries(st.sampled_from([NOTHING, GPU, LINUX]), st.tuples(st.integers(0, 9), st.integers(0, 30)))


@given(OFFERS, COUNTS, OTHERS, st.sampled_from(sorted(POLICIES)))
def test_whatever_the_load(
    offers: list[tuple[int, int, frozenset[str]]],
    ready: dict[frozenset[str], int],
    others: dict[frozenset[str], tuple[int, int]],
    policy: str,
) -> None:
    made = tuple(
        Offer(f"m{i}", kind, most, min(wanted, most), min(wanted, most))
        for i, (most, wanted, kind) in enumerate(offers)
    )
    found = POLICIES[policy](Load(made, ready, others))
    assert found.keys() == {offer.name for offer in made}
    assert all(0 <= found[offer.name] <= offer.max_slots for offer in made)
    again = tuple(Offer(o.name, o.capabilities, o.max_slots, found[o.name], o.held) for o in made)
    settled = POLICIES[policy](Load(again, ready, others))
    assert sum(settled.values()) == sum(found.values()), "what was asked for is not asked for again"
