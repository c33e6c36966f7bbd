"""What it costs to write and read a message, beside the Cap'n Proto library's readers and builders in the same run.

python benchmarks/wire_codec.py
"""

from __future__ import annotations

import timeit
from array import array
from typing import Any

from scaler.messages import Assign, ClientHeartbeat, Results, RunTasks, Submit
from scaler.wire import schema
from scaler.wire.codec import codec
from scaler.wire.dynamic import DynamicUnion

REPEATS = 7
SECONDS = 0.1


def messages(n: int) -> list[tuple[str, str, Any]]:
    """(file, union, message) of each step of a round trip, with n tasks of 40 bytes of arguments."""
    u32, u64 = array("I", range(n)), array("Q", range(n))
    payloads = [bytes(40)] * n
    return [
        ("client", "ClientToScheduler", Submit(u64, u32[:1], payloads)),
        ("worker", "SchedulerToWorker", Assign(u64, u32, u32, payloads)),
        ("executor", "WorkerToExecutor", RunTasks(7, u32, payloads)),
        ("executor", "ExecutorToWorker", Results(u64, b"", bytes(n), payloads, u64, u64, u64)),
        ("worker", "WorkerToScheduler", Results(u64, u32, bytes(n), payloads, u64, u64, u64)),
        ("client", "SchedulerToClient", Results(u64, b"", bytes(n), payloads, u64, u64, u64)),
    ]


def microseconds(*calls: Any) -> list[float]:
    """The best time of each call, measured in turns."""
    timers = [timeit.Timer(call) for call in calls]
    times = [max(1, int(SECONDS / REPEATS / min(timer.repeat(3, 3)) * 3)) for timer in timers]
    rounds = [[timer.timeit(n) / n for timer, n in zip(timers, times, strict=True)] for _ in range(REPEATS)]
    return [min(column) * 1e6 for column in zip(*rounds, strict=True)]


def main() -> None:
    print(f"{'':42}{'encode':>10}{'library':>10}{'decode':>10}{'library':>10}   microseconds")
    cases = [("client", "ClientToScheduler", ClientHeartbeat(1)), *messages(1), *messages(1000)]
    for file, union, message in cases:
        ours, theirs = codec(file, union), DynamicUnion(union, getattr(schema.load(file), union))
        data = ours.encode(message)
        times = microseconds(
            lambda c=ours, m=message: c.encode(m),
            lambda c=theirs, m=message: c.encode(m),
            lambda c=ours, d=data: c.decode(d),
            lambda c=theirs, d=data: c.decode(d),
        )
        tasks = f" x {len(message.payloads)}" if hasattr(message, "payloads") else ""
        print(f"{union + ' ' + type(message).__name__ + tasks:42}" + "".join(f"{t:10.2f}" for t in times))


if __name__ == "__main__":
    main()
