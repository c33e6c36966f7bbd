"""Stacks, counted: what profiles are made of, in executors, workers and monitors alike."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple, TypeAlias

from scaler.errors import ProtocolError
from scaler.ids import u32, u64
from scaler.messages import StackSamples

MOST_STACKS = 1000
"""Different ones that are kept of what one executor, or one worker, found since it told last."""
MOST_FRAMES = 128
"""Of a stack."""
LONGEST_TEXT = 300
"""Characters of a name or a path."""


class Frame(NamedTuple):
    """A function in a stack."""

    name: str
    """Qualified."""
    file: str
    line: int
    """Where the function begins."""


Stack: TypeAlias = tuple[Frame, ...]
"""The outermost frame first."""
DEEPER = Frame("(deeper)", "", 0)
"""The innermost frame of a stack of which the rest was too much."""


class StackCounts:
    """How many periods each function, called as a task, was seen with each stack. At most ``most`` different ones."""

    def __init__(self, most: int = MOST_STACKS) -> None:
        self.counts: dict[tuple[str, Stack], int] = {}
        self.left_out = 0
        """Periods of those that were too many."""
        self._most = most

    def __bool__(self) -> bool:
        return bool(self.counts) or self.left_out > 0

    def add(self, function: str, stack: Stack, count: int) -> None:
        key = function, stack
        if key in self.counts:
            self.counts[key] += count
        elif len(self.counts) < self._most:
            self.counts[key] = count
        else:
            self.left_out += count

    def merge(self, samples: StackSamples) -> None:
        """Add what somebody found. Raises ProtocolError for columns that do not fit together."""
        check(samples)
        self.left_out += samples.left_out
        for function, stack, count in _read(samples):
            self.add(function, stack, count)

    def take(self, profile: int) -> StackSamples:
        """All of it in columns, and forget it."""
        functions: dict[str, int] = {}
        frames: dict[Frame, int] = {}
        samples = StackSamples(profile, left_out=self.left_out)
        places, ends, stacks = array("I"), array("I"), array("I")
        for function, stack in self.counts:
            places.append(functions.setdefault(function, len(functions)))
            stacks.extend(frames.setdefault(frame, len(frames)) for frame in stack)
            ends.append(len(stacks))
        samples.function_names = list(functions)
        samples.frame_names = [frame.name for frame in frames]
        samples.frame_files = [frame.file for frame in frames]
        samples.frame_lines = array("I", [frame.line for frame in frames])
        samples.functions, samples.stack_ends, samples.stacks = places, ends, stacks
        samples.counts = array("Q", self.counts.values())
        self.counts, self.left_out = {}, 0
        return samples


def check(samples: StackSamples) -> None:
    """Raises ProtocolError for columns that do not fit together, ValueError for such as are none."""
    frames, entries, ends = len(samples.frame_names), len(u64(samples.counts)), u32(samples.stack_ends)
    stacks, functions = u32(samples.stacks), u32(samples.functions)
    if len(samples.frame_files) != frames or len(u32(samples.frame_lines)) != frames:
        raise ProtocolError("columns of frames of different lengths")
    if len(functions) != entries or len(ends) != entries or (ends[-1] if entries else 0) != len(stacks):
        raise ProtocolError("columns of stacks of different lengths")
    if max(stacks, default=-1) >= frames or max(functions, default=-1) >= len(samples.function_names):
        raise ProtocolError("a stack of frames that are not told")
    if any(end < begin for begin, end in pairwise(ends)):
        raise ProtocolError("stacks that end before they begin")


def _read(samples: StackSamples) -> Iterator[tuple[str, Stack, int]]:
    frames = list(map(Frame, samples.frame_names, samples.frame_files, u32(samples.frame_lines)))
    stacks, begin = u32(samples.stacks), 0
    columns: Iterable[tuple[int, int, int]] = zip(
        u32(samples.functions), u32(samples.stack_ends), u64(samples.counts), strict=True
    )
    for function, end, count in columns:
        yield samples.function_names[function], tuple([frames[place] for place in stacks[begin:end]]), count
        begin = end
