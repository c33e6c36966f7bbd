"""The functions that clients have defined: numbered over all clients, kept while a client or a task names them."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace

from scaler._core.table import add_at, sum_and_max
from scaler.messages import Function

OVERHEAD_US = 10
"""What a task costs beside its own time, so that thousands of empty ones are not taken for nothing."""
NEWEST_SHARE = 0.3
"""How much the newest measurement weighs."""
_MOST = 0xFFFFFFFE


UNKNOWN = array("Q")
OTHERS = "(other functions)"
MOST_NAMES = 1000
"""What more names there are is counted under one."""


@dataclass(slots=True)
class Totals:
    """What all calls of the functions of one name came to, since the start."""

    place: int
    """In the order in which names came."""
    name: str
    succeeded: int = 0
    failed: int = 0
    wall_us: int = 0
    cpu_us: int = 0
    longest_us: int = 0
    peak_bytes: int = 0

    def add(self, count: int, wall: tuple[int, int], cpu_us: int, peak_bytes: int) -> None:
        """So many calls ended well; ``wall`` is the sum and the longest in microseconds."""
        self.succeeded += count
        self.wall_us += wall[0]
        self.cpu_us += cpu_us
        self.longest_us = max(self.longest_us, wall[1])
        self.peak_bytes = max(self.peak_bytes, peak_bytes)


@dataclass(slots=True)
class _Entry:
    function: Function
    totals: Totals
    mean_us: float | None = None
    nests: bool = False


class Functions:
    """Indexed by the scheduler's function number. ``costs`` holds the measured time of each in microseconds."""

    def __init__(self, unmeasured_us: int) -> None:
        self.costs = array("I")
        self._unmeasured_us = unmeasured_us
        self._uses = array("I")
        self._entries: list[_Entry | None] = []
        self._free: list[int] = []
        self.doubtful: set[int] = set()
        self.by_name: dict[str, Totals] = {}
        """In the order of their places."""

    def define(self, function: Function, owner: bytes) -> int:
        """Enter a client's function; returns the scheduler's number for it."""
        if self._free:
            number = self._free.pop()
        else:
            number = len(self._entries)
            self._entries.append(None)
            self.costs.append(0)
            self._uses.append(0)
        self._entries[number] = _Entry(replace(function, number=number, owner=owner), self._totals_of(function.name))
        self.costs[number] = self._unmeasured_us
        return number

    def _totals_of(self, name: str) -> Totals:
        if name not in self.by_name and len(self.by_name) >= MOST_NAMES - 1:
            name = OTHERS
        return self.by_name.setdefault(name, Totals(len(self.by_name), name))

    def undefine(self, number: int) -> None:
        """Its client will not name it again."""
        if self._entries[number] is not None:
            self.doubtful.add(number)

    def use(self, numbers: array[int], amount: int) -> None:
        """Count tasks (one entry each) that came or went."""
        add_at(self._uses, numbers, amount)

    def use_same(self, number: int, amount: int) -> None:
        """The same for ``amount`` tasks of one function."""
        self._uses[number] += amount

    def measure(self, number: int, mean_us: float) -> None:
        """Tasks of this function took this long, on average."""
        entry = self._entries[number]
        if entry is None or entry.nests:
            return
        old = entry.mean_us
        entry.mean_us = mean_us if old is None else old + (mean_us - old) * NEWEST_SHARE
        self.costs[number] = min(int(entry.mean_us) + OVERHEAD_US, _MOST)

    def ended(
        self, functions: array[int], wall: array[int], cpu: array[int] = UNKNOWN, peak: array[int] = UNKNOWN
    ) -> None:
        """Calls ended well, an entry for each in all columns: u32 functions, u64 microseconds and bytes; UNKNOWN: not known."""
        first = functions[0]
        if len(functions) == 1 or functions.count(first) == len(functions):
            self._ended(first, len(wall), wall, cpu, peak)
            return
        places: dict[int, list[int]] = {}
        for place, function in enumerate(functions):
            places.setdefault(function, []).append(place)
        for function, chosen in places.items():
            columns = (array("Q", [c[place] for place in chosen]) if c else c for c in (wall, cpu, peak))
            self._ended(function, len(chosen), *columns)

    def items_ended(self, number: int, count: int, wall: int, cpu: int, peak: int) -> None:
        """So many calls of one function ended well together."""
        self.measure(number, wall / count)
        self.totals(number).add(count, (wall, wall // count), cpu, peak)

    def _ended(self, number: int, count: int, wall: array[int], cpu: array[int], peak: array[int]) -> None:
        total, longest = sum_and_max(wall)
        self.measure(number, total / count)
        self.totals(number).add(count, (total, longest), sum_and_max(cpu)[0], sum_and_max(peak)[1])

    def places(self, functions: array[int]) -> list[int]:
        """The place of the name of each."""
        of = {function: self.totals(function).place for function in set(functions)}
        return [of[function] for function in functions]

    def nests(self, number: int) -> None:
        """Its tasks submit others and wait for them: their time says nothing, and they are given out one by one for good.

        So few of them wait for others at a time, each in an executor of its own.
        """
        entry = self._entries[number]
        if entry is not None:
            entry.nests, entry.mean_us = True, None
            self.costs[number] = self._unmeasured_us

    def totals(self, number: int) -> Totals:
        """Of all functions of the same name."""
        entry = self._entries[number]
        assert entry is not None
        return entry.totals

    def mean_us(self, number: int) -> float | None:
        """The measured time of one call, None before the first."""
        entry = self._entries[number]
        return entry.mean_us if entry is not None else None

    def in_use(self) -> Iterator[tuple[int, int, float | None]]:
        """(number, how many tasks and ranges there are of it, its measured time in microseconds) of those with tasks."""
        for number, (entry, uses) in enumerate(zip(self._entries, self._uses, strict=True)):
            if entry is not None and uses:
                yield number, uses, entry.mean_us

    def get(self, number: int) -> Function:
        """The definition, as a worker gets it."""
        entry = self._entries[number]
        assert entry is not None
        return entry.function

    def name(self, number: int) -> str:
        return self.get(number).name

    def collect(self) -> array[int]:
        """Forget those that nobody names any more; returns their numbers, which may be given out again."""
        gone = array("I", [number for number in self.doubtful if not self._uses[number]])
        for number in gone:
            self._entries[number] = None
            self._free.append(number)
            self.doubtful.discard(number)
        return gone

    def __len__(self) -> int:
        return len(self._entries) - len(self._free)
