from __future__ import annotations

import pytest

from scaler.errors import ConfigurationError
from scaler.scheduler.policy import ALLOCATIONS, SCALINGS, Policy, Rule, parse_policy


@pytest.mark.parametrize(
    ("content", "policy"),
    [
        ("", Policy("even_load", "vanilla")),
        ("allocate=capability", Policy("capability", "vanilla")),
        ("scaling=no", Policy("even_load", "no")),
        (" allocate = even_load ; scaling = capability ; ", Policy("even_load", "capability")),
        ("scaling=no;scaling=vanilla", Policy("even_load", "vanilla")),
    ],
)
def test_what_can_be_said(content: str, policy: Policy) -> None:
    assert parse_policy("simple", content) == policy


def test_a_waterfall_is_read_by_priority() -> None:
    content = "2,cloud,30\n\n1, here , 8  # these first"
    assert parse_policy("waterfall_v1", content).rules == (Rule(1, "here", 8), Rule(2, "cloud", 30))
    assert parse_policy("waterfall_v1", "1,here,8; 2,cloud,30").rules == parse_policy("waterfall_v1", content).rules


@pytest.mark.parametrize("allocate", ALLOCATIONS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_pair(allocate: str, scaling: str) -> None:
    assert parse_policy("simple", f"allocate={allocate}; scaling={scaling}") == Policy(allocate, scaling)


@pytest.mark.parametrize(
    ("engine", "content", "text"),
    [
        ("waterfall", "", "unknown policy engine 'waterfall'; known: simple, waterfall_v1"),
        ("waterfall_v1", "# none", "a waterfall needs a rule"),
        ("waterfall_v1", "1,a,8\n2,b", "rule 2 '2,b': it is not of the form"),
        ("waterfall_v1", "1,a,many", "rule 1 '1,a,many': priority and max_task_concurrency are whole numbers"),
        ("waterfall_v1", "1,a,0", "max_task_concurrency is less than 1"),
        ("waterfall_v1", "1,a,8;2,a,9", "worker manager 'a' has two rules"),
        ("simple", "allocate", "'allocate' is not of the form name=value"),
        ("simple", "colour=red", "unknown name 'colour'; known: allocate, scaling"),
        ("simple", "allocate=random", "allocate='random' is none of even_load, capability"),
        ("simple", "scaling=", "scaling='' is none of no, vanilla, capability"),
    ],
)
def test_what_cannot(engine: str, content: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        parse_policy(engine, content)
