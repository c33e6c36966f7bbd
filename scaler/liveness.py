"""TCP connections that have nobody at their other end: machines that are gone without a word, or the very same socket."""

from __future__ import annotations

import errno
import os
import socket
import struct

DEAD_SECONDS = 60
"""A machine that answers nothing for so long is gone. The kernel asks it, of which a process that is stopped knows nothing."""


def notice_dead_machines(sock: socket.socket) -> None:
    """Have a TCP connection break within DEAD_SECONDS of the peer's machine, or the way to it, being gone without a word.

    Also while nothing is said. The system's own limits are two hours then, and a quarter of one while something is.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    probes = 3
    pause = DEAD_SECONDS // (probes + 1)
    for name, value in (
        ("TCP_KEEPIDLE", pause),
        ("TCP_KEEPALIVE", pause),
        ("TCP_KEEPINTVL", pause),
        ("TCP_KEEPCNT", probes),
        ("TCP_USER_TIMEOUT", DEAD_SECONDS * 1000),
    ):
        option = getattr(socket, name, None)
        if option is not None:  # Not every system has all of them.
            sock.setsockopt(socket.IPPROTO_TCP, option, value)


def refuse_itself(sock: socket.socket) -> None:
    """Raises ConnectionRefusedError for a TCP connection of a socket with itself, and sees to it that its port is free again.

    To connect to a port where nobody listens may end so when it is one of those that the system gives out by itself: who tries
    again and again is given it one day as its own port, and TCP lets two ends open at once (RFC 9293, 3.5, "simultaneous open").
    Once closed in order it would keep who is to listen there away for a minute, so it is reset.
    """
    try:
        to_itself = sock.getsockname() == sock.getpeername()
    except OSError:  # The peer is gone already.
        return
    if to_itself:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
