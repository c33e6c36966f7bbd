"""TCP connections to machines that are gone without a word."""

from __future__ import annotations

import socket

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
