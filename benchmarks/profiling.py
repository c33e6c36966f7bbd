"""``python -m benchmarks.profiling``: where each process of Scaler spends its time, under each load.

For submits, round trips and a map, py-spy samples the client, the scheduler, the worker and an executor, one after the other. It
writes LOAD-ROLE.svg, a flame graph, and LOAD-ROLE.txt, the functions in which most samples ended. Where py-spy may not look at
other processes (kernel.yama.ptrace_scope is above 0 and we are not root), perf is used, which sees functions of C only.

Time in C counts for the Python function that called it: the event loop's own time, and where py-spy cannot see that a thread
sleeps its waiting too, stand at ``run_daemon`` and ``ClientService._run``; an executor's waiting at ``Executor.serve``.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.contestant import Contestant

LOADS = {"submit": 100_000, "round_trip": 500, "map": 200_000}
ROLES = ("client", "scheduler", "worker", "executor")
SHOWN = 40
RATE = 250


class NotPermitted(Exception):
    """The profiler may not look, or is not there; the text is what it said."""


@contextmanager
def under_load(contestant: Contestant, load: str, count: int) -> Iterator[None]:
    """Has the system work for as long as the block lasts."""
    ended = threading.Event()
    troubles: list[BaseException] = []

    def work() -> None:
        try:
            while not ended.is_set():
                contestant.ask(load, count)
        except Exception as error:
            troubles.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if troubles:
        raise troubles[0]


def busiest(pids: list[int]) -> int:
    """Of several processes the one that uses most processor time just now."""
    processes = [psutil.Process(pid) for pid in pids]
    before = [sum(process.cpu_times()[:2]) for process in processes]
    # A second under load tells the worker from its fork server, which does nothing.
    threading.Event().wait(1.0)
    used = [sum(process.cpu_times()[:2]) - start for process, start in zip(processes, before, strict=True)]
    return pids[used.index(max(used))]


def profile(pid: int, seconds: int, stem: Path) -> str:
    """Write stem.svg and stem.txt; returns one line for people."""
    try:
        return _py_spy(pid, seconds, stem)
    except NotPermitted as refusal:
        if not shutil.which("perf"):
            raise
        return f"py-spy: {refusal}; {_perf(pid, seconds, stem)}"


def _py_spy(pid: int, seconds: int, stem: Path) -> str:
    command = [str(Path(sys.executable).with_name("py-spy")), "record", "--pid", str(pid)]
    command += ["--duration", str(seconds), "--rate", str(RATE)]
    _run([*command, "--format", "flamegraph", "--output", str(stem.with_suffix(".svg"))])
    with tempfile.NamedTemporaryFile("r", suffix=".txt") as raw:
        _run([*command, "--format", "raw", "--output", raw.name])
        text = summary(raw.read().splitlines())
    stem.with_suffix(".txt").write_text(text)
    return text.splitlines()[1] if text.count("\n") > 1 else "no samples: it did nothing"


def _perf(pid: int, seconds: int, stem: Path) -> str:
    with tempfile.NamedTemporaryFile() as data:
        _run(["perf", "record", "-q", "-g", "-p", str(pid), "-o", data.name, "--", "sleep", str(seconds)])
        command = ["perf", "report", "--stdio", "-i", data.name]
        report = subprocess.run(command, capture_output=True, text=True, check=False)
    stem.with_suffix(".txt").write_text(report.stdout)
    return "perf wrote the text"


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise NotPermitted(str(error)) from None
    if done.returncode:
        raise NotPermitted((done.stderr or done.stdout).strip().splitlines()[-1])


def summary(stacks: list[str]) -> str:
    """Collapsed stacks, "outer;inner COUNT" a line, as a table: in which function samples ended, and passed through."""
    inside: Counter[str] = Counter()
    through: Counter[str] = Counter()
    for line in stacks:
        stack, _, count = line.rpartition(" ")
        # Lines of one function count together.
        frames = [frame.rpartition(":")[0] or frame for frame in stack.split(";")]
        inside[frames[-1]] += int(count)
        for frame in set(frames):
            through[frame] += int(count)
    total = sum(inside.values())
    lines = [f"{'itself':>7} {'with calls':>11}   of {total} samples"]
    for frame, count in inside.most_common(SHOWN):
        lines.append(f"{count / total:7.1%} {through[frame] / total:11.1%}   {frame}")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profiling", description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="how long each process is sampled, twice")
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("build/profiles"), help="the directory to write into")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    with Contestant("scaler", Path(sys.executable), given.slots) as contestant:
        pids = contestant.ask("processes", 0)["pids"]
        for load, count in LOADS.items():
            with under_load(contestant, load, count):
                for role in ROLES:
                    told = profile(busiest(pids[role]), given.seconds, given.output / f"{load}-{role}")
                    print(f"{load:10} {role:10} {told}", flush=True)
    print(f"flame graphs and tables are in {given.output}")


if __name__ == "__main__":
    main()
