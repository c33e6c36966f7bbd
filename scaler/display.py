"""How objects show themselves in notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape


def html_table(title: str, rows: Mapping[str, object]) -> str:
    """A title and a table of two columns; everything in it is shown as text, whatever it contains."""
    cells = "".join(
        f'<tr><th style="text-align: left">{escape(label)}</th>'
        f'<td style="text-align: left">{escape(str(value))}</td></tr>'
        for label, value in rows.items()
    )
    return f"<div><strong>{escape(title)}</strong><table>{cells}</table></div>"


def plural(count: int, thing: str) -> str:
    """``1 slot``, ``2 slots``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """A time as people say it: ``850 us``, ``12.3 ms``, ``4.56 s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f} us"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:,.2f} s"


def span(seconds: float) -> str:
    """A time that may be long: ``4.56 s``, ``2m 05s``, ``3h 10m``, ``12d 04h``."""
    if seconds < 100:
        return duration(seconds)
    minutes, hours, days = int(seconds / 60), int(seconds / 3600), int(seconds / 86400)
    if days:
        return f"{days}d {hours % 24:02}h"
    return f"{hours}h {minutes % 60:02}m" if hours else f"{minutes}m {int(seconds) % 60:02}s"


def size(count: int) -> str:
    """So many bytes as people say it: ``512 B``, ``1.5 GiB``."""
    if count < 1024:
        return f"{count} B"
    power = min((count.bit_length() - 1) // 10, 4)
    return f"{count / 1024**power:,.4g} {'KMGT'[power - 1]}iB"
