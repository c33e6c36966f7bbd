"""The measures: what is done with a system, and what is told of it."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import psutil
from systems.system import Missing, System
from systems.work import ARRAY_BYTES, element, noop, tree

Answer = dict[str, Any]


def family(system: System) -> dict[str, list[psutil.Process]]:
    """All processes of a system, this one (the client) included, by what they are."""
    found: dict[str, list[psutil.Process]] = {"client": [psutil.Process()]}
    for process in psutil.Process().children(recursive=True):
        try:
            found.setdefault(system.role(process), []).append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Processor time used so far; what has ended counts nothing."""
    total = 0.0
    for process in processes:
        try:
            total += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def rate(system: System, count: int, work: Callable[[], Any]) -> Answer:
    """Tasks per second, and processor time per task of every kind of process in microseconds."""
    processes = family(system)
    before = {role: cpu_seconds(members) for role, members in processes.items()}
    began = time.perf_counter()
    found = work()
    took = time.perf_counter() - began
    spent = {role: (cpu_seconds(members) - before[role]) / count * 1e6 for role, members in processes.items()}
    return {"value": count / took, "count": count, "cpu_us": spent, "result": found}


def submit(system: System, count: int) -> Answer:
    answer = rate(system, count, lambda: system.submit(count))
    assert answer.pop("result") == list(range(count))
    return answer


def map_items(system: System, count: int) -> Answer:
    answer = rate(system, count, lambda: system.map(count))
    assert answer.pop("result") == list(range(count))
    return answer


def graph(system: System, count: int) -> Answer:
    nodes, root, count = tree(count)
    answer = rate(system, count, lambda: system.compute(nodes, root))
    leaves = (count + 1) // 2
    assert answer.pop("result") == leaves * (leaves - 1) // 2
    return answer


def round_trip(system: System, count: int) -> Answer:
    """Microseconds from a lone submit to its result: the median, and the 99th percentile."""
    taken = []
    for i in range(count):
        began = time.perf_counter()
        system.call(i)
        taken.append(time.perf_counter() - began)
    taken.sort()
    return {"value": statistics.median(taken) * 1e6, "p99": taken[int(count * 0.99)] * 1e6, "count": count}


def _array() -> Any:
    """100 MiB that no system has seen before."""
    try:
        import numpy
    except ImportError:
        raise Missing("numpy is not installed there") from None
    return numpy.frombuffer(random.randbytes(1 << 20) * (ARRAY_BYTES >> 20), dtype=numpy.int64)


def echo(system: System, count: int) -> Answer:
    """Seconds for an array of 100 MiB to a task and back; the median of ``count`` arrays."""
    taken = []
    for _ in range(count):
        array = _array()
        began = time.perf_counter()
        returned = system.call(array)
        taken.append(time.perf_counter() - began)
        assert returned.nbytes == ARRAY_BYTES and returned[-1] == array[-1]
    return {"value": statistics.median(taken), "count": count}


def shared(system: System, count: int) -> Answer:
    """Seconds for 20 tasks that take the same array of 100 MiB; the median of ``count`` arrays."""
    taken = []
    for _ in range(count):
        array = _array()
        began = time.perf_counter()
        found = system.calls(element, [(array, place) for place in range(20)])
        taken.append(time.perf_counter() - began)
        assert found == [float(value) for value in array[:20]]
    return {"value": statistics.median(taken), "count": count}


def megabytes(system: System, count: int) -> Answer:
    """MB/s of ``count`` different bytes objects of 1 MiB, to a task each and back, counted both ways; the best of three."""
    rest, taken = random.randbytes((1 << 20) - 16), []
    for _ in range(3):
        began = time.perf_counter()
        found = system.calls(noop, [(random.randbytes(16) + rest,) for _ in range(count)])
        taken.append(time.perf_counter() - began)
        assert len(found) == count and all(value[16:] == rest for value in found)
        del found
    return {"value": 2 * count * (1 << 20) / 1e6 / min(taken), "count": count}


def idle(system: System, count: int) -> Answer:
    """Memory (MB, PSS) and processor use (% of one core) of all processes, over ``count`` seconds without work."""
    processes = [process for members in family(system).values() for process in members]
    before = cpu_seconds(processes)
    time.sleep(count)
    used = (cpu_seconds(processes) - before) / count * 100
    memory = 0
    for process in processes:
        try:
            memory += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return {"value": memory / 1e6, "cpu_percent": used, "processes": len(processes)}


def processes(system: System, count: int) -> Answer:
    """Process ids by role, for profilers."""
    return {"pids": {role: [process.pid for process in members] for role, members in family(system).items()}}


MEASURES: dict[str, Callable[[System, int], Answer]] = {
    "idle": idle,
    "submit": submit,
    "map": map_items,
    "round_trip": round_trip,
    "graph": graph,
    "echo": echo,
    "shared": shared,
    "megabytes": megabytes,
    "processes": processes,
}
