"""How much memory this process may use."""

from __future__ import annotations

from pathlib import Path

import psutil

_GROUPS = Path("/sys/fs/cgroup")


def usable_bytes(groups: Path = _GROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """The machine's memory, or less where a control group (container, systemd unit, batch job) has a limit."""
    return min([int(psutil.virtual_memory().total), *_limits(groups, membership)])


def _limits(groups: Path, membership: Path) -> list[int]:
    """Of this process's groups and all above them, in both versions of control groups."""
    found = []
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, name = (groups / "memory", "memory.limit_in_bytes") if controllers else (groups, "memory.max")
        group = top / path.strip("/")
        for level in (group, *group.parents):
            text = _read(level / name).strip()
            if text.isdigit():
                found.append(int(text))
            if level == top:
                break
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
