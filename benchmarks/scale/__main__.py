"""The tables of docs/scale.md: ``python -m benchmarks.scale TABLE``.

connections, through   a real scheduler: what connections cost it, and the bytes that ride in messages
limits, storm          its state alone: memory and processor time by the number of workers; workers that come back at once
busy, hosts            simulated: how many of n slots one scheduler keeps busy, with one slot a worker and with 64
share                  simulated: 100,000 workers and 10^8 tasks on 1, 4, 16 and 64 schedulers
lend                   simulated: 16 schedulers whose clients have unequal work, with workers that stay or are lent
"""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from benchmarks.scale import busy, connections, lend, limits, share, through
from scaler.messages import Role
from scaler.net.daemon import collect_garbage_rarely


def rows(label: str, found: Iterable[tuple[object, Mapping[str, float]]]) -> Iterator[str]:
    """A table as Markdown has it, line by line as it is found."""
    for place, (name, values) in enumerate(found):
        if not place:
            yield f"| {label} | " + " | ".join(values) + " |"
            yield "|---:|" + "---:|" * len(values)
        yield (
            f"| {name} | "
            + " | ".join(f"{value:,.3g}" if value < 1e3 else f"{value:,.0f}" for value in values.values())
            + " |"
        )


def _connections(sizes: Sequence[int]) -> Iterator[str]:
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    sizes = [size for size in sizes or connections.COUNTS if size < most - 100]
    for role in (Role.worker, Role.client):
        yield from rows(f"{role.name}s", ((f"{size:,}", connections.measure(size, role)) for size in sizes))


def _limits(sizes: Sequence[int]) -> Iterator[str]:
    sizes = sizes or limits.SIZES
    yield from rows("bytes with so many", ((f"{size:,}", limits.memory(size)) for size in sizes))
    yield from rows("us with so many workers", ((f"{size:,}", limits.costs(size)) for size in sizes))


def _storm(sizes: Sequence[int]) -> Iterator[str]:
    sizes = sizes or limits.STORMS
    yield from rows("workers", ((f"{size:,}", {"us a worker": limits.storm(size)}) for size in sizes))


def _through(sizes: Sequence[int]) -> Iterator[str]:
    yield from rows("bytes a task", ((f"{size:,}", through.measure(size)) for size in sizes or through.SIZES))


TABLES: dict[str, Callable[[Sequence[int]], Iterator[str]]] = {
    "connections": _connections,
    "through": _through,
    "limits": _limits,
    "storm": _storm,
    "busy": lambda sizes: busy.table(workers=sizes or busy.WORKERS),
    "hosts": lambda sizes: busy.table(workers=sizes or busy.HOSTS, slots=64),
    "lend": lambda sizes: lend.table(),
}
SHARE = "share"


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scale", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = (*TABLES, SHARE)
    parser.add_argument("table", choices=names, metavar="TABLE", help=", ".join(names))
    parser.add_argument(
        "sizes", nargs="*", type=int, help="of workers, clients, bytes or schedulers, other than the usual"
    )
    parser.add_argument("--tasks", type=int, default=share.TASKS, help="of share")
    parser.add_argument("--workers", type=int, default=share.WORKERS, help="of share")
    parser.add_argument("--clients", type=int, default=share.CLIENTS, help="of share")
    given = parser.parse_args(argv)
    collect_garbage_rarely()
    if given.table == SHARE:
        lines = share.table(given.sizes or share.SCHEDULERS, given.tasks, given.workers, given.clients)
    else:
        lines = TABLES[given.table](given.sizes)
    for line in lines:
        print(line, flush=True)


if __name__ == "__main__":
    main()
