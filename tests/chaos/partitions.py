"""Workers behind a relay that stops passing on what is said, in both directions or in one, or passes it on late and in spurts.

That is what a connection of TCP sees of a network that is cut, or loses and delays packets: what was sent comes later.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path

from scaler import Client

from .cluster import WORKER_TIMEOUT_SECONDS, Cluster
from .faults import Fault, every
from .load import Load, Tally

TASK_SECONDS = 0.02
CHUNK_BYTES = 1 << 16
_Flow = str
"""``up`` is what workers say, ``down`` what they are told."""


class Relay:
    """Listens on a port of its own, and passes everything on to an address, in a thread."""

    def __init__(self, address: str) -> None:
        host, port = address.removeprefix("tcp://").split(":")
        self._target = host, int(port)
        self._stopped: frozenset[_Flow] = frozenset()
        self._longest_delay = 0.0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        listening = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(listening,), daemon=True)
        self._thread.start()
        listening.wait(10)

    def stop(self, *flows: _Flow) -> None:
        """Hold back what is said this way, until it is called again without it."""
        self._stopped = frozenset(flows)

    def delay(self, longest: float) -> None:
        """Pass on each piece after a time up to this many seconds."""
        self._longest_delay = longest

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, listening: threading.Event) -> None:
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.address = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        listening.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass_on("up", reader, there[1]), self._pass_on("down", there[0], writer))

    async def _pass_on(self, flow: _Flow, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chance = random.Random(flow)
        try:
            while piece := await reader.read(CHUNK_BYTES):
                if self._longest_delay:
                    await asyncio.sleep(chance.random() * self._longest_delay)
                while flow in self._stopped:
                    await asyncio.sleep(0.02)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            while flow in self._stopped:  # Nor does the end of a connection come through.
                await asyncio.sleep(0.02)
            writer.close()


Disturbance = Callable[[Relay, random.Random], None]


def _behind_a_relay(name: str, directory: Path, seconds: float, pause: float, disturbance: Disturbance) -> Tally:
    """Two workers behind it, and one that is not."""
    tally = Tally(name)
    directory.mkdir(parents=True, exist_ok=True)
    made = Cluster(directory, 1)
    relay = Relay(made.address)
    try:
        for _ in range(2):
            made.add_worker(address=relay.address)
        with Client(made.address, timeout_seconds=60) as client:
            client.gather([client.submit(abs, -1) for _ in range(20)])
            fault: Fault = lambda cluster, chance: disturbance(relay, chance)  # noqa: E731
            with every(pause, fault, made, tally):
                Load(client, directory, TASK_SECONDS).run(max(60, int(seconds * 100)), tally)
    finally:
        made.end()
        relay.end()
    return tally


def _cut(relay: Relay, chance: random.Random) -> None:
    """Nothing passes, for shorter or longer than a worker may be silent."""
    relay.stop("up", "down")
    time.sleep(chance.choice((1.0, WORKER_TIMEOUT_SECONDS + 3.0)))
    relay.stop()


def _cut_one_way(relay: Relay, chance: random.Random) -> None:
    relay.stop(chance.choice(("up", "down")))
    time.sleep(WORKER_TIMEOUT_SECONDS + 3.0)
    relay.stop()


def _ragged(relay: Relay, chance: random.Random) -> None:
    relay.delay(chance.choice((0.0, 0.01, 0.1)))


def partitioned(directory: Path, seconds: float) -> Tally:
    return _behind_a_relay("two of three workers cut off, and back", directory, max(seconds, 10.0), 2.0, _cut)


def one_way(directory: Path, seconds: float) -> Tally:
    return _behind_a_relay("the same in one direction", directory, max(seconds, 10.0), 2.0, _cut_one_way)


def ragged(directory: Path, seconds: float) -> Tally:
    return _behind_a_relay("delays up to 0.1 s that change", directory, seconds, 0.5, _ragged)
