"""Which files in shared memory are held: several objects may have parts of one file, whose memory is free after the last."""

from __future__ import annotations

from typing import Generic, TypeVar

_Holder = TypeVar("_Holder")
_Sizes = tuple[tuple[str, int], ...]
"""Names of files, and the bytes of memory that each takes."""


class Files(Generic[_Holder]):
    """Each file counts for the one of its holders that has it longest."""

    def __init__(self) -> None:
        self._holders: dict[str, list[_Holder]] = {}

    def enter(self, holder: _Holder, files: _Sizes) -> int:
        """It holds these files from here on. Returns the bytes of those that nobody else holds."""
        new = 0
        for name, size in files:
            holders = self._holders.setdefault(name, [])
            new += 0 if holders else size
            holders.append(holder)
        return new

    def leave(self, holder: _Holder, files: _Sizes) -> list[tuple[_Holder, int]]:
        """It holds these files no longer. Returns for whom the bytes of some count now, and how many."""
        heirs = []
        for name, size in files:
            holders = self._holders[name]
            counted = holders[0] is holder
            holders.remove(holder)
            if not holders:
                del self._holders[name]
            elif counted:
                heirs.append((holders[0], size))
        return heirs
