"""The fork server: a process without threads that has everything loaded, and forks an executor whenever it is asked to.

Executors die with the fork server, and the fork server ends when its worker is gone: nothing outlives the worker.
"""

from __future__ import annotations

import ctypes
import gc
import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from functools import partial

from scaler.errors import ConfigurationError
from scaler.messages import ExecutorExited, ExecutorForked, ForkExecutor, ForkServerReady, Message
from scaler.named import AllowedFunctions
from scaler.wire.codec import codec
from scaler.worker.preload import Preload, parse_preload

PACKET_BYTES = 4096
DESCRIPTORS = 4
_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def start_fork_server(preload: str = "", allow_functions: Sequence[str] = ()) -> tuple[int, socket.socket]:
    """Fork the fork server off this process, which must not have threads yet; returns its pid and our end of its socket.

    Each executor runs ``preload`` first, and then only ``allow_functions``, if there are any. Raises ConfigurationError for a
    preload that is malformed.
    """
    # Loaded before the fork, so that all executors share these pages.
    from scaler.worker import executor

    executor.load_codecs()
    allowed = AllowedFunctions(allow_functions) if allow_functions else None
    run = partial(executor.main, preload=_read(preload) if preload else None, allowed=allowed)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    gc.collect()
    gc.freeze()
    pid = os.fork()
    if pid:
        theirs.close()
        return pid, ours
    code = 1
    try:
        ours.close()
        die_with_parent(parent)
        _serve(theirs, run)
        code = 0
    finally:
        os._exit(code)


def _read(preload: str) -> Preload:
    try:
        return parse_preload(preload)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None


class _ForkServer:
    def __init__(self, control: socket.socket, run: Callable[..., None]) -> None:
        self.control = control
        self.run = run
        self.children: dict[int, int] = {}
        self.said = codec("executor", "ForkServerToWorker")
        self.heard = codec("executor", "WorkerToForkServer")

    def say(self, message: Message) -> None:
        self.control.send(self.said.encode(message))

    def fork(self, message: ForkExecutor, descriptors: list[int]) -> None:
        parent = os.getpid()
        pid = os.fork()
        if not pid:
            code = 1
            try:
                self.control.close()
                _become_executor(parent)
                self.run(*descriptors)
                code = 0
            finally:
                os._exit(code)
        for descriptor in descriptors:
            os.close(descriptor)
        self.children[pid] = message.executor
        self.say(ExecutorForked(message.executor, pid))

    def reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                return
            executor = self.children.pop(pid, None)
            if executor is not None:
                self.say(ExecutorExited(executor, os.waitstatus_to_exitcode(status)))


def _become_executor(parent: int) -> None:
    die_with_parent(parent)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _serve(control: socket.socket, run: Callable[..., None]) -> None:
    server = _ForkServer(control, run)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wake_out, wake_in = socket.socketpair()
    wake_out.setblocking(False)
    wake_in.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake_in.fileno(), warn_on_full_buffer=False)
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    selector.register(wake_out, selectors.EVENT_READ)
    server.say(ForkServerReady())
    while True:
        for key, _ in selector.select():
            if key.fileobj is wake_out:
                wake_out.recv(4096)
                server.reap()
                continue
            data, descriptors, _, _ = socket.recv_fds(control, PACKET_BYTES, DESCRIPTORS)
            if not data:
                return
            message = server.heard.decode(data)
            assert isinstance(message, ForkExecutor)
            server.fork(message, descriptors)
