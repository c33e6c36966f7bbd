"""Graph: what each unfinished task waits for and who waits for it, by dense index."""

from array import array
from typing import final

from typing_extensions import Buffer

@final
class Graph:
    """Dependencies between tasks. Only tasks with an edge cost anything here.

    A *node* is a task that was added, or is the dependency of one, until it is removed. A node is finished or not.
    ``missing(n)`` counts its unfinished dependencies, ``users(n)`` the dependents that have not been removed yet; both
    count a repeated one once.
    """

    def __init__(self) -> None: ...
    def __len__(self) -> int:
        """How many nodes."""
    def add(self, task: int, dependencies: Buffer) -> int:
        """Enter a task with its dependencies (u32 column, repeats allowed and kept); returns missing(task).

        A dependency that is no node yet becomes an unfinished one. Raises ValueError when the task already has
        dependencies or depends on itself.
        """
    def dependencies(self, task: int) -> array[int]:
        """As given to add, in order, repeats kept; empty for other nodes and for indexes that are no node."""
    def dependents(self, task: int) -> array[int]:
        """Those not removed yet, in the order added, each once; empty for indexes that are no node."""
    def missing(self, task: int) -> int:
        """0 for indexes that are no node."""
    def users(self, task: int) -> int:
        """0 for indexes that are no node."""
    def unfinished_users(self, task: int) -> int:
        """Those of its users that are not finished; 0 for indexes that are no node."""
    def finished(self, task: int) -> bool:
        """Whether finish() was called for this node; False for indexes that are no node."""
    def finish(self, tasks: Buffer) -> array[int]:
        """Mark nodes as finished; returns the tasks whose missing count fell to 0 by it, in order (u32 column).

        Indexes that are no node, or finished before, are passed over.
        """
    def mark_finished(self, task: int) -> None:
        """Make ``task`` a finished node (a dependency whose result is there already), before add() names it."""
    def reopen(self, task: int) -> None:
        """Its result is gone: all its users, finished ones too, miss it until finish() is called again.

        Indexes that are no node, or not finished, are passed over.
        """
    def remove(self, task: int) -> array[int]:
        """Forget a node and its edges; returns the dependencies that have no user left because of it (each once).

        Its dependents keep it in dependencies() but no longer wait: call it for a node without users, or after
        descendants() were removed. Raises ValueError if dependents remain that are not removed. No-op for no node.
        """
    def detach(self, tasks: Buffer) -> array[int]:
        """Drop the edges of finished nodes, which stay; returns the dependencies that have no user left because of it.

        Raises ValueError, and drops none, if one is not finished. Indexes that are no node are passed over.
        """
    def descendants(self, task: int) -> array[int]:
        """All that depend on it directly or not, each once, nearest first (breadth first), without the task itself."""
    def check(self) -> None: ...
