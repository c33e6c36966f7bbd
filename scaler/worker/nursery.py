"""``python -m scaler.worker.nursery DESCRIPTOR``: a process that has all loaded that a worker needs, and forks workers.

A new Python process takes a third of a second of a processor until it is a worker; a fork takes a few milliseconds. So a
manager can start many small workers at once. It reads lines of JSON from the socket with that descriptor, each a list
``[name, order]``, and answers ``["started", name, pid]`` or ``["failed", name, reason]``, and ``["ended", name, exit code]``
later. When the socket is closed it ends; the workers stay.
"""

from __future__ import annotations

import gc
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

from scaler.net.driver import load_conversations
from scaler.worker import executor
from scaler.worker.__main__ import work

READ_BYTES = 1 << 20


class _Nursery:
    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._wake = socket.socketpair()
        self._children: dict[int, str] = {}
        self._unread = b""

    def serve(self) -> None:
        """Until the manager is gone."""
        for end in self._wake:
            end.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self._wake[1].fileno(), warn_on_full_buffer=False)
        selector = selectors.DefaultSelector()
        selector.register(self._control, selectors.EVENT_READ)
        selector.register(self._wake[0], selectors.EVENT_READ)
        try:
            while self._turn(selector):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass

    def _turn(self, selector: selectors.BaseSelector) -> bool:
        going_on = True
        for key, _ in selector.select():
            if key.fileobj is self._control:
                going_on = self._read()
            else:
                self._wake[0].recv(4096)
                self._reap()
        return going_on

    def _read(self) -> bool:
        """Start what is asked for; returns whether there may be more."""
        data = self._control.recv(READ_BYTES)
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self._start(*json.loads(line))
        return bool(data)

    def _start(self, name: str, order: str) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._say("failed", name, str(error))
            return
        if not pid:
            self._become_worker(order)
        self._children[pid] = name
        self._say("started", name, pid)

    def _become_worker(self, order: str) -> None:
        code = 1
        try:
            os.setsid()  # Ctrl-C in a terminal is for the manager, which ends its workers in order.
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            for end in (self._control, *self._wake):
                end.close()
            code = work(json.loads(order))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            self._say("ended", self._children.pop(pid), os.waitstatus_to_exitcode(status))

    def _say(self, *words: Any) -> None:
        self._control.sendall(json.dumps(words).encode() + b"\n")


def main() -> int:
    """See the module."""
    nursery = _Nursery(socket.socket(fileno=int(sys.argv[1])))
    # Told by the manager, which is told by whoever started it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    load_conversations()
    executor.load_codecs()
    gc.collect()
    gc.freeze()
    nursery.serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
