from __future__ import annotations

import pytest

from scaler.errors import ConfigurationError
from scaler.scheduler.policy import ALLOCATIONS, SCALINGS, Policy, parse_policy
from scaler.scheduler.scaling.waterfall import UNLIMITED, Rule


@pytest.mark.parametrize(
    ("content", "policy"),
    [
        ("", Policy("even_load", "vanilla")),
        ("allocate=capability", Policy("capability", "vanilla")),
        ("scaling=no", Policy("even_load", "no")),
        (" allocate = even_load ; scaling = capability ; ", Policy("even_load", "capability")),
        ("scaling=no;scaling=vanilla", Policy("even_load", "vanilla")),
        ("scaling=target_time\ntarget_seconds=5 # s", Policy(scaling="target_time", target_seconds=5.0)),
        ("scaling=vanilla; idle_seconds=0.5", Policy(idle_seconds=0.5)),
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
        ("simple", "idle_seconds=0", "idle_seconds='0' is no time in seconds, greater than 0"),
        ("simple", "allocate=even_load\n\nscale=no", r"policy, line 3 \('scale=no'\): unknown name 'scale'"),
        ("waterfall_v1", "", "no rule; write priority, worker_manager_id, max_task_concurrency"),
        ("waterfall_v1", "1,here", "policy '1,here': '1,here' has 2 parts"),
        ("waterfall_v1", "1,here,8\nfirst,there,9", r"line 2 \('first,there,9'\): priority 'first' is no whole number"),
        ("waterfall_v1", "1,here,many", "max_task_concurrency 'many' is no whole number"),
        ("waterfall_v1", "1,here,-2", "max_task_concurrency -2 is less than 1, and not -1, which means no limit"),
        ("waterfall_v1", "1,here,0", "max_task_concurrency 0 is less than 1"),
        ("waterfall_v1", "1,,8", "worker_manager_id is empty"),
        ("waterfall_v1", "1,here,8\n2,here,9", "line 2 .*: there is a rule for 'here' already"),
        ("waterfall_v1", "1,here,8;scaling=no", "beside rules there can only be idle_seconds=number"),
    ],
)
def test_what_cannot(engine: str, content: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        parse_policy(engine, content)


def test_a_waterfall() -> None:
    text = """
        # what is here costs nothing
        1, here, 8
        2, cloud, -1   # and what is there, a lot
        idle_seconds = 30
    """
    rules = (Rule(1, "here", 8), Rule(2, "cloud", UNLIMITED))
    assert parse_policy("waterfall_v1", text) == Policy(scaling="waterfall", idle_seconds=30.0, rules=rules)
