"""Profiles folded, and written down."""

from __future__ import annotations

import json

import pytest

from scaler.messages import ProfilePart, StackSamples
from scaler.monitor.profile import Profile
from scaler.monitor.profile_text import as_folded, as_json, as_speedscope, as_text
from scaler.stacks import StackCounts

from .demo_profile import CURVE, PRICE, READ, SOLVE, demo_profile


def test_the_tree_has_what_called_what_and_the_most_first() -> None:
    root = demo_profile().tree()
    assert (root.total, root.own) == (3702, 0)
    assert [(node.frame.name, node.total, node.own) for node in root.children] == [
        ("price", 2200, 0),
        ("load", 1502, 2),
    ]
    paths = [[frame.name for frame in path[1:]] for path, _ in root.walk()]
    assert paths[:4] == [[], ["price"], ["price", "price"], ["price", "price", "Curve.value"]]


def test_each_function_has_a_share_wherever_it_was_called() -> None:
    shares = [(share.frame, share.own, share.total) for share in demo_profile().shares()]
    assert shares == [(SOLVE, 1800, 1800), (READ, 1500, 1500), (CURVE, 300, 2100), (PRICE, 100, 2200)]


def test_as_text_it_has_a_line_for_each_place() -> None:
    lines = as_text(demo_profile()).splitlines()
    assert (
        lines[0]
        == "all functions, 100 times a second for 10 s; 1 worker, 4 executors; tasks ran for 37.02 s in all; ended"
    )
    assert lines[1] == "missing: 1 of 4 executors died"
    shown = [line.split()[-2:] for line in lines[4:7]]
    assert shown == [["s", "price"], ["price", "pricing.py:40"], ["Curve.value", "curves.py:12"]]
    assert as_text(Profile()).endswith("no task ran")


def test_other_programs_can_read_it() -> None:
    profile = demo_profile()
    assert "price;price (pricing.py:40);Curve.value (curves.py:12);solve (curves.py:88) 1800\n" in as_folded(profile)
    scope = as_speedscope(profile)
    price = next(one for one in scope["profiles"] if one["name"] == "price")
    assert price["endValue"] == 22.0 and len(price["samples"]) == len(price["weights"]) == 3
    names = [scope["shared"]["frames"][place]["name"] for place in price["samples"][0]]
    assert names == ["price", "price", "Curve.value", "solve"]
    told = json.loads(json.dumps(as_json(profile)))
    assert told["task_seconds"] == 37.02 and told["missing"] == ["1 of 4 executors died"]


def test_what_cannot_be_understood_is_missing_and_said_to_be() -> None:
    profile = Profile()
    profile.apply(ProfilePart(1, StackSamples(1, frame_names=["a"])))
    (note,) = profile.notes
    assert note.startswith("a part that could not be understood") and profile.total == 0


@pytest.mark.parametrize("most", [1, 3])
def test_too_many_different_stacks_are_counted(most: int) -> None:
    profile = Profile(counts=StackCounts(most))
    counts = StackCounts()
    for line in range(5):
        counts.add("f", (READ._replace(line=line),), 10)
    profile.apply(ProfilePart(1, counts.take(1)))
    profile.end("")
    assert profile.total == 50 and len(profile.counts.counts) == most
    assert profile.notes == [f"{10 * (5 - most)} samples of stacks too different to keep all"]
