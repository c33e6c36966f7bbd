from __future__ import annotations

from array import array

from scaler.messages import Function
from scaler.scheduler.functions import NEWEST_SHARE, OVERHEAD_US, Functions

ANN = b"A" * 16


def functions(count: int = 1) -> Functions:
    known = Functions(500)
    for number in range(count):
        assert known.define(Function(70 + number, "s", b"c", name=f"f{number}"), ANN) == number
    return known


def test_a_definition_gets_the_schedulers_number_and_its_owner() -> None:
    known = functions(2)
    assert known.get(1) == Function(1, "s", b"c", b"", "f1", ANN)
    assert known.name(1) == "f1" and len(known) == 2


def test_a_function_stays_while_it_is_defined_or_used() -> None:
    known = functions(3)
    known.use_same(0, 2)
    known.use(array("I", [1, 0]), 1)
    for number in range(3):
        known.undefine(number)
    assert sorted(known.collect()) == [2]
    known.use(array("I", [1, 0, 0]), -1)
    assert list(known.collect()) == [1]
    known.use_same(0, -1)
    assert list(known.collect()) == [0] and not known.doubtful and len(known) == 0


def test_numbers_are_given_out_again_with_nothing_left_of_the_one_before() -> None:
    known = functions()
    known.measure(0, 10_000)
    known.undefine(0)
    known.undefine(0)
    assert list(known.collect()) == [0] and list(known.collect()) == []
    known.undefine(0)
    assert known.define(Function(1, "t"), ANN) == 0
    assert list(known.costs) == [500] and known.get(0).serializer == "t" and list(known.collect()) == []


def test_costs_follow_the_measurements() -> None:
    known = functions(2)
    assert list(known.costs) == [500, 500]
    known.measure(0, 1000)
    first = 1000 + OVERHEAD_US
    assert list(known.costs) == [first, 500]
    known.measure(0, 2000)
    assert known.costs[0] == int(first + (2000 + OVERHEAD_US - first) * NEWEST_SHARE)


def test_costs_stay_in_32_bits() -> None:
    known = functions()
    known.measure(0, 1e15)
    assert known.costs[0] == 0xFFFFFFFE


def test_what_is_gone_is_not_measured() -> None:
    known = functions()
    known.undefine(0)
    known.collect()
    known.measure(0, 5)
    assert list(known.costs) == [500]
