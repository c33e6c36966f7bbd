"""Millions of tasks through one cluster: whether memory and descriptors of any process grow."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import psutil

from scaler import Client

from .cluster import cluster
from .load import Tally

SAMPLE_SECONDS = 5.0
ROUND = 100_000
WARM = 0.25
"""The first part of the time, in which memory may still grow, is left out of the slopes."""


def soak(directory: Path, tasks: int) -> Tally:
    """One row; its notes tell the steepest slopes."""
    tally = Tally(f"{tasks:,} tasks")
    began = time.monotonic()
    with cluster(directory, 2) as made, Client(made.address, timeout_seconds=60) as client:
        client.submit(abs, -1).result(60)
        samples: dict[str, list[tuple[float, int, int]]] = {}
        over = threading.Event()
        processes = {**made.daemons(), "client": psutil.Process()}

        def sample() -> None:
            while not over.wait(SAMPLE_SECONDS):
                for name, process in processes.items():
                    entry = time.monotonic() - began, process.memory_info().rss, process.num_fds()
                    samples.setdefault(name, []).append(entry)

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            while tally.submitted < tasks:
                count = min(ROUND, tasks - tally.submitted)
                if tally.submitted // ROUND % 2:
                    results = client.map(abs, range(-count, 0))
                else:
                    results = client.gather([client.submit(abs, number) for number in range(-count, 0)])
                tally.right += sum(
                    result == expected for result, expected in zip(results, range(count, 0, -1), strict=True)
                )
                tally.submitted += count
        finally:
            over.set()
            sampler.join()
    tally.seconds = time.monotonic() - began
    tally.wrong = tally.submitted - tally.right
    tally.notes = f"{tally.seconds:.0f} s; " + _steepest(samples)
    return tally


def _steepest(samples: dict[str, list[tuple[float, int, int]]]) -> str:
    memory = {name: _slope([(at, rss) for at, rss, _ in warm]) for name, warm in _warm(samples).items()}
    descriptors = {name: _slope([(at, count) for at, _, count in warm]) for name, warm in _warm(samples).items()}
    if not memory:
        return "too short for slopes"
    most, open_ones = max(memory, key=memory.__getitem__), max(descriptors, key=descriptors.__getitem__)
    return (
        f"memory grows most in {most}: {memory[most] * 3600 / 1e6:+.1f} MB an hour; "
        f"descriptors in {open_ones}: {descriptors[open_ones] * 3600:+.1f} an hour"
    )


def _warm(samples: dict[str, list[tuple[float, int, int]]]) -> dict[str, list[tuple[float, int, int]]]:
    warm = {name: entries[int(len(entries) * WARM) :] for name, entries in samples.items()}
    return {name: entries for name, entries in warm.items() if len(entries) > 2}


def _slope(points: list[tuple[float, int]]) -> float:
    """Of the line that fits best, by least squares."""
    mean_x, mean_y = (sum(column) / len(points) for column in zip(*points, strict=True))
    variance = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / variance
