"""Connections by the thousand: ``python -m tests.chaos.crowd HOST PORT``.

KEPT that say nothing and as many that say a byte each 0.5 s, others in the place of those that are closed; says so when they are
there. Then STORM that come and go as fast as they can; says how many. Stays until its input ends, and says how many it kept.
"""

from __future__ import annotations

import resource
import socket
import sys
import threading
from contextlib import suppress

KEPT, STORM = 1000, 10_000


def connect(where: tuple[str, int], number: int) -> socket.socket:
    """Each address has ports of its own: one has too few, since a port is not used again for a minute."""
    one = socket.create_connection(where, 10, (f"127.0.0.{2 + number % 50}", 0))
    one.setblocking(False)
    return one


class Kept:
    """Those that stay."""

    def __init__(self, where: tuple[str, int]) -> None:
        self.count = 0
        self._where = where
        self._silent: list[socket.socket] = []
        self._slow: list[socket.socket] = []

    def keep(self) -> None:
        """As many as there should be; some of them say something."""
        for held in (self._silent, self._slow):
            held[:] = [one for one in held if _lives(one)]
            while len(held) < KEPT:
                held.append(connect(self._where, self.count))
                self.count += 1
        for one in self._slow:
            with suppress(OSError):
                one.send(b"\0")


def _lives(one: socket.socket) -> bool:
    try:
        alive = one.recv(4096) != b""
    except BlockingIOError:
        return True
    except OSError:
        alive = False
    if not alive:
        one.close()
    return alive


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    where, over = (sys.argv[1], int(sys.argv[2])), threading.Event()
    kept = Kept(where)
    kept.keep()

    def stay() -> None:
        while not over.wait(0.5):
            with suppress(OSError):
                kept.keep()

    staying = threading.Thread(target=stay)
    staying.start()
    print("there", flush=True)
    stormed = 0
    while stormed < STORM:
        connect(where, stormed).close()
        stormed += 1
    print(stormed, flush=True)
    sys.stdin.read()
    over.set()
    staying.join()
    print(kept.count, flush=True)


if __name__ == "__main__":
    main()
