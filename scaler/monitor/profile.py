"""A profile, folded from its parts into what a screen shows. No I/O.

profile = Profile(seconds=5, function="price")
await feed.profile(profile)      # tells it each part as it comes
profile.tree().children[0].total
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from scaler.display import plural
from scaler.errors import ProtocolError
from scaler.messages import ProfilePart
from scaler.stacks import Frame, StackCounts

KEPT_STACKS = 20_000
"""Different ones."""


@dataclass(slots=True, eq=False)
class Node:
    """A function, in the place in stacks where it was seen. Counts are periods of 1 / hertz seconds."""

    frame: Frame
    total: int = 0
    """In it, and in what it called."""
    own: int = 0
    """In it itself."""
    children: list[Node] = field(default_factory=list)
    """What it called, that with the most first."""

    def walk(self, path: tuple[Frame, ...] = ()) -> Iterator[tuple[tuple[Frame, ...], Node]]:
        """It and all below it, each with its path, itself included."""
        waiting = [((*path, self.frame), self)]
        while waiting:
            path, node = waiting.pop()
            yield path, node
            waiting += [((*path, child.frame), child) for child in reversed(node.children)]


@dataclass(slots=True)
class Share:
    """What a function, wherever it was called, had of a profile. Counts as in Node."""

    frame: Frame
    total: int = 0
    own: int = 0


ALL = Frame("all", "", 0)
"""The root of a tree. Below it are functions that were called as tasks, without file and line; below these the frames."""


@dataclass(slots=True, eq=False)
class Profile:
    """What is asked for, and what was found so far."""

    seconds: float = 10.0
    hertz: int = 100
    worker: bytes = b""
    """Only this one, by its identity; else all."""
    slots: tuple[int, ...] = ()
    """Only these of that worker; else all."""
    function: str = ""
    """Only while this runs; else whatever runs."""
    request: int = 0
    """Set by the feed."""
    changed: Callable[[], None] = lambda: None
    """Called after each part."""
    parts: int = 0
    """How many came: a screen that has shown this many has nothing to do."""
    workers: int = 0
    workers_ended: int = 0
    executors: int = 0
    ended: bool = False
    notes: list[str] = field(default_factory=list)
    """What is missing, and why."""
    counts: StackCounts = field(default_factory=lambda: StackCounts(KEPT_STACKS))

    def apply(self, part: ProfilePart) -> None:
        """One more part. What cannot be understood is missing, and said to be."""
        self.workers, self.workers_ended, self.executors = part.workers, part.workers_ended, part.executors
        try:
            self.counts.merge(part.samples)
        except (ProtocolError, ValueError) as error:
            self.notes.append(f"a part that could not be understood: {error}")
        if part.ended:
            self.end(part.text)
            return
        self.parts += 1
        self.changed()

    def end(self, text: str) -> None:
        """Nothing more comes; ``text`` says what is missing."""
        self.ended = True
        self.notes += text.splitlines()
        if self.counts.left_out:
            self.notes.append(f"{plural(self.counts.left_out, 'sample')} of stacks too different to keep all")
        self.parts += 1
        self.changed()

    @property
    def total(self) -> int:
        """Periods in which tasks ran, those included that are not in the tree."""
        return sum(self.counts.counts.values()) + self.counts.left_out

    @property
    def label(self) -> str:
        """What it is of, and how far it is, for people."""
        what = self.function or "all functions"
        how = f"{self.hertz} times a second for {self.seconds:g} s"
        where = f"{plural(self.workers, 'worker')}, {plural(self.executors, 'executor')}"
        seen = f"tasks ran for {self.total / self.hertz:,.2f} s in all"
        return f"{what}, {how}; {where}; {seen}; {'ended' if self.ended else 'goes on'}"

    def tree(self) -> Node:
        """By function and frame, from all down."""
        root, nodes = Node(ALL), dict[tuple[int, Frame], Node]()
        for (function, stack), count in self.counts.counts.items():
            node = root
            node.total += count
            for frame in (Frame(function, "", 0), *stack):
                child = nodes.get((id(node), frame))
                if child is None:
                    child = nodes[id(node), frame] = Node(frame)
                    node.children.append(child)
                node = child
                node.total += count
            node.own += count
        for node in (root, *nodes.values()):
            node.children.sort(key=_most_first)
        return root

    def shares(self) -> list[Share]:
        """What each function had, that with the most of its own first. One that calls itself counts once."""
        shares: dict[Frame, Share] = {}
        for (_, stack), count in self.counts.counts.items():
            for frame in dict.fromkeys(stack):
                shares.setdefault(frame, Share(frame)).total += count
            if stack:
                shares[stack[-1]].own += count
        return sorted(shares.values(), key=lambda share: (-share.own, -share.total, share.frame))


def _most_first(node: Node) -> tuple[int, Frame]:
    return -node.total, node.frame
