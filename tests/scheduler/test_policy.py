from __future__ import annotations

import pytest

from scaler.errors import ConfigurationError
from scaler.scheduler.policy import ALLOCATIONS, SCALINGS, Policy, parse_policy


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


@pytest.mark.parametrize("allocate", ALLOCATIONS)
@pytest.mark.parametrize("scaling", SCALINGS)
def test_every_pair(allocate: str, scaling: str) -> None:
    assert parse_policy("simple", f"allocate={allocate}; scaling={scaling}") == Policy(allocate, scaling)


@pytest.mark.parametrize(
    ("engine", "content", "text"),
    [
        ("waterfall", "", "unknown policy engine 'waterfall'; known: simple"),
        ("simple", "allocate", "'allocate' is not of the form name=value"),
        ("simple", "colour=red", "unknown name 'colour'; known: allocate, scaling"),
        ("simple", "allocate=random", "allocate='random' is none of even_load, capability"),
        ("simple", "scaling=", "scaling='' is none of no, vanilla, capability"),
    ],
)
def test_what_cannot(engine: str, content: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        parse_policy(engine, content)
