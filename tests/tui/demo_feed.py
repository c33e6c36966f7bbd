"""A feed of a busy cluster, the same every time: for tests of the screens, and for their pictures."""

from __future__ import annotations

import math
from array import array

from scaler.ids import RANGE_BIT, task_id
from scaler.messages import (
    ClientFacts,
    EndedTasks,
    ExecutorFacts,
    ExecutorState,
    FailedTask,
    FunctionFacts,
    GraphFacts,
    LogLine,
    ManagerFacts,
    ResultStatus,
    SchedulerFacts,
    Statistics,
    TaskCounts,
    Update,
    WaitingTasks,
    WorkerFacts,
)

BEGIN = 1_767_268_800
"""2026-01-01 12:00:00 UTC."""
MIB, GIB = 1 << 20, 1 << 30
FUNCTIONS = ("simulate_path", "price_option", "calibrate", "load_quotes", "write_report")
NOTEBOOK, NIGHTLY = b"\x3a\x91" * 8, b"\xc0\x5e" * 8
TRACEBACK = """\
Traceback (most recent call last):
  File "/srv/risk/pricing.py", line 88, in price_option
    volatility = surface.at(strike, expiry)
  File "/srv/risk/surface.py", line 41, in at
    raise LookupError(f"no quote for strike {strike} and expiry {expiry}")
LookupError: no quote for strike 4250 and expiry 2026-03-20
"""


def wave(second: int, period: float, phase: float = 0.0) -> float:
    """Between 0 and 1."""
    return 0.5 + 0.5 * math.sin(2 * math.pi * second / period + phase)


def identity(number: int) -> bytes:
    return (number * 0x9E3779B1 % 2**32).to_bytes(4, "big") * 4


def worker(number: int, second: int) -> WorkerFacts:
    slots = 4
    held = 0 if number == 7 else 4 + int(6 * wave(second, 20, number))
    gpu = number >= 9
    executors = [executor(number, slot, second, held) for slot in range(slots)]
    resident = sum(e.resident_bytes for e in executors) + 90 * MIB
    return WorkerFacts(
        identity(number),
        "Worker",
        f"node-{number:02}",
        2300 + number,
        "gpu-queue" if gpu else "cluster-a",
        slots,
        held,
        round(sum(e.cpu_percent for e in executors), 1),
        resident,
        int(400 + 900 * wave(second, 9, number)),
        number == 7,
        ["gpu", "linux"] if gpu else ["linux"],
        min(held, slots),
        20 * GIB - resident,
        executors,
        (BEGIN - 3600 + 60 * number) * 1000,
        f"cluster-a-{number:02}" if not gpu else f"gpu-{number:02}",
    )


def executor(number: int, slot: int, second: int, held: int) -> ExecutorFacts:
    made = ExecutorFacts(slot, 24_000 + 10 * number + slot, ExecutorState.idle)
    made.resident_bytes = int((140 + 60 * wave(second, 30, number + slot)) * MIB)
    if slot < held:
        made.state, made.queued = ExecutorState.running, (held - slot - 1) // 4
        made.function_name = FUNCTIONS[(number + slot) % 3]
        array_item = made.function_name == "simulate_path"
        made.task = task_id(2, (RANGE_BIT if array_item else 0) + 400 + 10 * number + slot)
        made.running_microseconds = int(1e5 * (1 + (7 * number + 3 * slot + second) % 50))
        made.cpu_percent = round(70 + 30 * wave(second, 7, slot), 1)
    return made


def ended(second: int) -> EndedTasks:
    n = 24
    status = [ResultStatus.failed if second % 9 == 4 and k == 5 else ResultStatus.succeeded for k in range(n)]
    return EndedTasks(
        array("Q", [task_id(2, 1000 * second + k) for k in range(n)]),
        array("I", [k % 3 for k in range(n)]),
        list(FUNCTIONS[:3]),
        array("I", [k % 12 for k in range(n)]),
        [identity(k) for k in range(12)],
        array("I", [k % 4 for k in range(n)]),
        bytes(status),
        array("Q", [(BEGIN + second) * 1000 - 40 * (n - k) for k in range(n)]),
        array("Q", [20_000 + 7000 * (k % 5) for k in range(n)]),
        array("Q", [19_000 + 6500 * (k % 5) for k in range(n)]),
        array("Q", [(150 + k) * MIB for k in range(n)]),
        array("I", [40 if k % 3 == 0 else 1 for k in range(n)]),
        9000 + int(3000 * wave(second, 25)),
    )


def failure(second: int) -> FailedTask:
    if second % 2:
        return FailedTask(
            task_id(2, 1000 * second + 5), "price_option", "price_option", NIGHTLY, identity(second % 12),
            ResultStatus.failed, (BEGIN + second) * 1000, 2, 31_000, 30_500, 161 * MIB, "builtins.LookupError",
            "no quote for strike 4250 and expiry 2026-03-20", TRACEBACK,
            ["failed with builtins.OSError: the data server does not answer"],
        )  # fmt: skip
    story = "executor 24031 was killed by SIGSEGV; its last output on standard error:\n      double free"
    return FailedTask(
        task_id(2, 1000 * second + 5), "calibrate desk 7", "calibrate", NIGHTLY, identity(3), ResultStatus.crashed,
        (BEGIN + second) * 1000, 4, message=f"calibrate was running in 4 deaths of its executor or worker:\n  1. {story}",
        attempts=[f"on worker {n}: {story}" for n in ("node-03", "node-05", "node-03", "node-01")],
    )  # fmt: skip


def functions(second: int) -> list[FunctionFacts]:
    calls = (400_000 + 9000 * second, 31_000 + 700 * second, 900 + 5 * second, 12, 0)
    means = (240, 31_000, 1_900_000, 4_200_000, 0)
    return [
        FunctionFacts(
            name, done, 3 if name == "price_option" else 0, done * mean, int(done * mean * 0.94), mean * 4,
            (130 + 40 * place) * MIB, (260_000 - 4000 * second, 9000, 140, 0, 3)[place],
        )
        for place, (name, done, mean) in enumerate(zip(FUNCTIONS, calls, means, strict=True))
    ]  # fmt: skip


def graphs(second: int) -> list[GraphFacts]:
    begin = BEGIN * 1000
    return [
        GraphFacts(3, NIGHTLY, 840, 840, 0, 0, begin - 300_000, begin - 120_000, "write_report"),
        GraphFacts(4, NOTEBOOK, 96, 71, 25, 0, begin - 90_000, begin - 60_000, "calibrate"),
        GraphFacts(5, NIGHTLY, 12_500, 3000 + 110 * second, 0, 44, begin - 45_000, 0, "write_report"),
    ]


def update(second: int) -> Update:
    facts = functions(second)
    waiting = [WaitingTasks(["linux"], 251_000 - 3900 * second, True), WaitingTasks(["fpga"], 3, False)]
    log = [LogLine((BEGIN + second) * 1000, 30, "calibrate desk 7: killed by SIGSEGV on worker node-03")]
    if second == 0:
        log = [
            LogLine(
                (BEGIN - 40) * 1000, 20, "worker gpu-09 (pid 2309 on node-09) connected with 4 slots, offers gpu, linux"
            ),
            LogLine((BEGIN - 30) * 1000, 20, "worker manager cluster-a (slurm) connected"),
            LogLine((BEGIN - 20) * 1000, 30, "3 tasks wait for a worker that offers fpga; none of those here does"),
            LogLine(
                (BEGIN - 10) * 1000,
                20,
                "worker cluster-a-07 (pid 2307 on node-07) is asked to leave: it is too many",
            ),
        ]
    return Update(
        second == 0,
        (BEGIN + second) * 1000,
        TaskCounts(9380 - 110 * second, waiting[0].tasks + 3, 60, 40, sum(f.succeeded for f in facts), 3 + second // 9, 12, 1),
        [worker(number, second) for number in range(12)],
        [],
        [
            ClientFacts(NOTEBOOK, "notebook", True, 140, 1),
            ClientFacts(NIGHTLY, "nightly", True, 269_000 - 4000 * second, 2),
        ],
        [
            ManagerFacts("cluster-a", "slurm", 64, 8, 36, 1, "srun: node-04: task 0: Out Of Memory", 44, False, 0, ["linux"]),
            ManagerFacts("gpu-queue", "aws_hpc", 16, 0, 12, 0, "", 12, False, 4, ["gpu", "linux"]),
            ManagerFacts("workstation", "baremetal_native", 2, 0, 0, 0, "", 2, True),
        ],
        round(22 + 20 * wave(second, 25), 1),
        int((180 + second) * MIB),
        Statistics(0, 4210 + 3 * second, 9 * GIB + second * 64 * MIB, 2, 0, 18_000 + 40 * second, 91_000 + 300 * second,
                   14_000 + 30 * second, 2100, 6 * GIB, 8 * GIB, 312, 3 * GIB),
        SchedulerFacts("tcp://10.0.0.5:8516", "head", 2201, "0.1.0", (BEGIN - 7200) * 1000, True, 300 + second),
        facts,
        waiting,
        graphs(second),
        ended(second),
        [failure(second)] if second % 9 == 4 else [],
        log if second % 18 in (0, 4) else [],
    )  # fmt: skip


def feed(seconds: int = 60) -> list[Update]:
    """So many seconds of it."""
    return [update(second) for second in range(seconds)]
