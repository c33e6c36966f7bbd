"""What tasks are queued by, in one number: priority, then depth."""

from scaler._core.queues import DEPTH_BITS

MAX_DEPTH = (1 << DEPTH_BITS) - 1
"""Deeper tasks count as so deep."""
MAX_PRIORITY = (1 << 24) - 1
"""Greater priorities count as this one, and lesser ones than its opposite less one as that."""


def rank(priority: int, depth: int) -> int:
    """What the queues go by, as u32: the priority that was asked for, and among equals the depth.

    So recursion goes depth first, and few tasks wait for others at a time. Between shares only the priority counts.
    """
    priority = max(-MAX_PRIORITY - 1, min(priority, MAX_PRIORITY))
    return ((priority << DEPTH_BITS) + min(depth, MAX_DEPTH)) & 0xFFFFFFFF


def signed(value: int) -> int:
    """An i32 out of the u32 it was stored as."""
    return value - (1 << 32) if value >> 31 else value
