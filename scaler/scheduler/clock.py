"""What time it is, for the parts of a state that only note it."""

from __future__ import annotations

from dataclasses import dataclass

_WRAP = 0xFFFFFFFF


@dataclass(slots=True)
class Clock:
    """Set by whoever is told the time; a state has one for all its parts."""

    now: float = 0.0
    """Seconds of the monotonic clock."""
    unix_offset: float = 0.0
    """Unix time less that, told by the service."""

    @property
    def unix_milliseconds(self) -> int:
        return int((self.unix_offset + self.now) * 1000)

    @property
    def stamp(self) -> int:
        """The time as 32 bits, for columns: milliseconds that begin anew every 49 days."""
        return int(self.now * 1000) & _WRAP

    def since(self, stamp: int) -> int:
        """Milliseconds since a stamp."""
        return (self.stamp - stamp) & _WRAP


def between(earlier: int, later: int) -> int:
    """Milliseconds from one stamp to another."""
    return (later - earlier) & _WRAP
