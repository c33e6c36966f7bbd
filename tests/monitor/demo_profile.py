"""A profile as one would be found."""

from __future__ import annotations

from scaler.messages import ProfilePart
from scaler.monitor.profile import Profile
from scaler.stacks import Frame, StackCounts

PRICE = Frame("price", "/home/ann/pricing.py", 40)
CURVE = Frame("Curve.value", "/home/ann/curves.py", 12)
SOLVE = Frame("solve", "/home/ann/curves.py", 88)
READ = Frame("read", "/home/ann/data.py", 7)


def demo_profile() -> Profile:
    """Of 10 s in which four executors ran two functions; it has ended."""
    counts = StackCounts()
    counts.add("price", (PRICE, CURVE, SOLVE), 1800)
    counts.add("price", (PRICE, CURVE), 300)
    counts.add("price", (PRICE,), 100)
    counts.add("load", (READ,), 1500)
    counts.add("load", (), 2)
    profile = Profile(10.0, 100)
    profile.apply(ProfilePart(1, counts.take(1), workers=1, workers_ended=1, executors=4))
    profile.end("1 of 4 executors died")
    return profile
