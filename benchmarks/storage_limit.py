"""Many times its memory limit through an object storage: how fast, how much memory it takes, and who waits meanwhile.

    python benchmarks/storage_limit.py --total 20G --limit 2G --object 64M
    python benchmarks/storage_limit.py --small            # 1 KB objects only

All objects are put, kept, and got again, by two processes at once. Each is checked for what it should be.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import quantiles
from typing import Any

from scaler import Client, SchedulerClusterCombo
from scaler.cluster.scheduler import Scheduler
from scaler.config import size
from scaler.ids import Address, new_identity
from scaler.messages import Get, Put
from scaler.storage.client import StorageClient
from scaler.wire.codec import codec
from scaler.wire.frame_reader import FrameReader

OWNER = b"benchmark owner."
PAGE = 4096


def memory_of(pid: int) -> int:
    """What a process has of its own, and the pages of the files in shared memory that it has open, mapped or not."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    files = {}
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if str(path.readlink()).startswith("/memfd:scaler"):
                status = path.stat()
                files[status.st_ino] = status.st_blocks * 512
    return (int(found[1]) << 10 if found else 0) + sum(files.values())


def storage_process(address: Address) -> int:
    """Which process of this one's children listens there."""
    port = f":{address.port:04X}"
    inodes = {
        line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:] if line.split()[1].endswith(port)
    }
    for path in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            if str(path.readlink()).removeprefix("socket:[").removesuffix("]") in inodes and "server" not in path.parts:
                command = Path(f"/proc/{path.parts[2]}/stat").read_text()
                if int(path.parts[2]) != os.getpid() and command:
                    return int(path.parts[2])
    raise RuntimeError("no process listens there")


def connected(address: Address, shared: bool) -> StorageClient:
    user = StorageClient(address, new_identity())
    if user.shares() and not shared:
        user._links.share = False
    return user


def flow(address: Address, shared: bool, names: range, object_bytes: int, told: Any) -> None:
    """Put these objects, then get them all."""
    user = connected(address, shared)
    content = bytearray(os.urandom(1 << 20) * (object_bytes >> 20))
    for act in ("put", "get"):
        began = time.monotonic()
        for number in names:
            name = number.to_bytes(16, "big")
            content[:16] = content[-16:] = name
            if act == "put":
                user.put(name, content, OWNER)
            else:
                found = user.get(name)
                assert found.nbytes == object_bytes and found[:16] == found[-16:] == name
                assert found[PAGE : 2 * PAGE] == content[PAGE : 2 * PAGE]
        told.put((act, len(names) * object_bytes / (time.monotonic() - began)))


@contextlib.contextmanager
def flows(address: Address, shared: bool, total: int, object_bytes: int) -> Iterator[Callable[[], dict[str, float]]]:
    """Two processes that bring it all; yields what waits for them and returns bytes/s."""
    spawn = multiprocessing.get_context("spawn")
    told, count = spawn.Queue(), total // object_bytes
    halves = range(count // 2), range(count // 2, count)
    processes = [spawn.Process(target=flow, args=(address, shared, half, object_bytes, told)) for half in halves]
    for process in processes:
        process.start()

    def wait() -> dict[str, float]:
        rates: dict[str, float] = {}
        for process in processes:
            process.join()
            assert process.exitcode == 0
        while not told.empty():
            act, rate = told.get()
            rates[act] = rates.get(act, 0) + rate
        return rates

    yield wait


@contextlib.contextmanager
def sampled(measure: Callable[[], float], pause: float) -> Iterator[list[float]]:
    """Measures again and again, in a thread."""
    seen: list[float] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(pause):
            seen.append(measure())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def show(what: str, seconds: list[float]) -> None:
    cuts = quantiles(seconds, n=1000)
    numbers = f"p50 {cuts[499] * 1e3:.2f} ms, p99 {cuts[989] * 1e3:.1f} ms, p99.9 {cuts[998] * 1e3:.1f} ms"
    print(f"  {what}: {numbers}, longest {max(seconds) * 1e3:.1f} ms, of {len(seconds)}")


def timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def large(options: argparse.Namespace, shared: bool) -> None:
    cluster: Any = SchedulerClusterCombo(
        2,
        object_storage_memory_limit_bytes=options.limit,
        object_storage_spill_directory=options.directory,
        logging_level="WARNING",
    )
    with cluster:
        address = Address.parse(cluster.get_object_storage_address())
        pid, user = storage_process(address), connected(address, shared)
        numbers = iter(range(1 << 40, 1 << 41))

        def put_and_get() -> None:
            name = next(numbers).to_bytes(16, "big")
            user.put(name, bytes(1000), OWNER)
            user.get(name)
            user.release([name], OWNER)

        with contextlib.ExitStack() as stack:
            client = stack.enter_context(Client(cluster.get_address()))
            before = memory_of(pid)
            wait = stack.enter_context(flows(address, shared, options.total, options.object))
            peaks = stack.enter_context(sampled(lambda: memory_of(pid), 0.02))
            small = stack.enter_context(sampled(lambda: timed(put_and_get), 0.005))
            tasks = stack.enter_context(sampled(lambda: timed(lambda: client.submit(len, bytes(1000)).result()), 0.005))
            rates = wait()
        found = user.statistics()
        print(
            f"{'shared memory' if shared else 'TCP'}: {options.total >> 20} MiB in objects of {options.object >> 20} MiB"
        )
        print("  " + ", ".join(f"{act} {rate / 1e6:.0f} MB/s" for act, rate in rates.items()))
        print(
            f"  memory: most {max(peaks) / options.limit:.3f} of the limit ({(max(peaks) - before) / options.limit:.3f} without"
            f" what it had before); spilled {found.spills} objects, restored {found.restores}"
        )
        show("1 KB put, get and release", small)
        show("1 KB task", tasks)
        user.close()


def many_small() -> None:
    """Puts and gets of objects of 1,000 bytes, sent without waiting for answers, so that the server is never idle."""
    with Scheduler(logging_level="WARNING") as cluster:
        rates = [ask_without_waiting(Address.parse(cluster.get_object_storage_address())) for _ in range(5)]
        print(f"1 KB objects: {max(rates):.0f} puts and gets/s, the best of {len(rates)}")


def ask_without_waiting(address: Address, count: int = 20_000) -> float:
    """Requests/s."""
    user = StorageClient(address, new_identity())
    user.statistics()
    (link,) = user._links.writers
    says = codec("storage", "ToStorage")
    frames = []
    for number in range(count):
        name = new_identity()
        frames += [says.frame(Put(1 << 20 | number, name, OWNER, 1000), 1000), bytes(1000)]
        frames.append(says.frame(Get(1 << 21 | number, name)))
    sent, reader, answers = b"".join(frames), FrameReader(), 0
    reader.handshake_done()
    sender = threading.Thread(target=link.sock.sendall, args=(sent,))
    buffer = bytearray(1 << 18)
    began = time.perf_counter()
    sender.start()
    while answers < 2 * count:
        reader.feed(buffer, link.sock.recv_into(buffer))
        answers += sum(1 for _ in iter(reader.take, None))
    rate = 2 * count / (time.perf_counter() - began)
    sender.join()
    user.close()
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", type=size, default=4 << 30)
    parser.add_argument("--limit", type=size, default=512 << 20)
    parser.add_argument("--object", type=size, default=64 << 20)
    parser.add_argument("--directory", default="")
    parser.add_argument("--transport", choices=("shared", "tcp", "both"), default="both")
    parser.add_argument("--small", action="store_true", help="only 1 KB objects")
    options = parser.parse_args()
    if options.small:
        many_small()
        return
    for shared in {"shared": (True,), "tcp": (False,), "both": (True, False)}[options.transport]:
        large(options, shared)


if __name__ == "__main__":
    main()
