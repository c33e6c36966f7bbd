"""What a profile costs a task: processor time of pure Python with none and with one, round by round in one executor.

python -m benchmarks.sampling [--hertz 100] [--rounds 20]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import threading
import time

from scaler import Client, SchedulerClusterCombo
from scaler.ids import Address
from scaler.monitor.feed import Feed
from scaler.monitor.profile import Profile

LOOPS = 60


def sum_squares(count: int) -> int:
    total = 0
    for number in range(count):
        total += number * number
    return total


def work(loops: int) -> tuple[float, float]:
    """Wall and processor seconds of this process, the thread that looks included."""
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(loops):
        sum_squares(200_000)
    return time.perf_counter() - wall, time.process_time() - processor


class Watching:
    """A monitor in a thread, which takes profiles while it is told to."""

    def __init__(self, address: Address, hertz: int) -> None:
        self._feed = Feed(address, lambda update: None)
        self._hertz = hertz
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._loop.call_soon_threadsafe(lambda: asyncio.ensure_future(self._feed.run()))

    def begin(self) -> Profile:
        profile = Profile(600.0, self._hertz)
        asyncio.run_coroutine_threadsafe(self._feed.profile(profile), self._loop).result()
        return profile

    def end(self, profile: Profile) -> None:
        self._loop.call_soon_threadsafe(self._feed.stop_profile, profile)
        while not profile.ended:
            time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hertz", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=20)
    asked = parser.parse_args()
    alone, seen, samples = [], [], 0
    combo = SchedulerClusterCombo(1, logging_level="ERROR", protected=False)
    with Client(combo.get_address()) as client:
        watching = Watching(Address.parse(combo.get_monitor_address()), asked.hertz)
        client.submit(work, LOOPS).result()
        for _ in range(asked.rounds):
            alone.append(client.submit(work, LOOPS).result())
            profile = watching.begin()
            seen.append(client.submit(work, LOOPS).result())
            watching.end(profile)
            samples += profile.total
    combo.shutdown()
    for place, name in enumerate(("wall", "processor")):
        a, b = (statistics.median(round[place] for round in rounds) for rounds in (alone, seen))
        print(f"{name} seconds: {a:.4f} alone, {b:.4f} with {asked.hertz} looks a second ({100 * (b / a - 1):+.2f} %)")
    print(f"periods counted: {samples}")


if __name__ == "__main__":
    main()
