"""A client's report as a page: one file, nothing from the internet, light or dark as the reader's system is."""

from __future__ import annotations

import time
from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from scaler.display import duration, plural, size, span

if TYPE_CHECKING:
    from scaler.client.report import FunctionReport, Report

STYLE = """
.scaler-report { --ink: #1c2430; --dim: #5c6675; --line: #d9dee6; --bar: #2f6fde; --bad: #c0392b; --ground: #fff;
  color: var(--ink); background: var(--ground); font: 15px/1.45 system-ui, sans-serif; max-width: 75rem; margin: auto;
  padding: 1rem; }
@media (prefers-color-scheme: dark) { .scaler-report { --ink: #e4e8ee; --dim: #98a2b3; --line: #343c49; --bar: #6ea0ff;
  --bad: #ff7b6b; --ground: #14181f; } }
.scaler-report h1 { font-size: 1.4rem; margin: 0; } .scaler-report h2 { font-size: 1.1rem; margin: 1.5rem 0 .5rem; }
.scaler-report p { color: var(--dim); margin: .2rem 0 1rem; }
.scaler-report dl { display: flex; flex-wrap: wrap; gap: .75rem 2rem; margin: 0; }
.scaler-report dt { color: var(--dim); font-size: .85rem; } .scaler-report dd { margin: 0; font-size: 1.25rem; }
.scaler-report .wide { overflow-x: auto; }
.scaler-report table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
.scaler-report th, .scaler-report td { padding: .3rem .6rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; } .scaler-report th { color: var(--dim); font-weight: 500; }
.scaler-report :is(th, td):first-child { text-align: left; }
.scaler-report .bad { color: var(--bad); } .scaler-report rect { fill: var(--bar); }
.scaler-report .share { display: block; height: .25rem; background: var(--bar); min-width: 1px; }
"""
HEAD = ("function", "calls", "failed", "again", "wall", "p50", "p95", "max", "CPU", "p50", "p95", "memory", "how long")
BAR_WIDTH, BAR_HEIGHT = 9, 28


def page(report: Report) -> str:
    """The whole file."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Scaler: {escape(report.client)}</title>"
        "<style>body { margin: 0; } @media (prefers-color-scheme: dark) { body { background: #14181f; } }</style></head>\n"
        f"<body>{content(report)}</body></html>\n"
    )


def content(report: Report) -> str:
    """What is in it, for notebooks."""
    began = time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(report.connected_unix))
    return (
        f'<style>{STYLE}</style>\n<div class="scaler-report">'
        f"<h1>{plural(report.calls, 'call')} in {span(report.busy_seconds)}</h1>"
        f"<p>client {escape(report.client)} at {escape(report.scheduler)}, since {escape(began)}</p>\n"
        f"<dl>{''.join(_number(*fact) for fact in _facts(report))}</dl>\n{_functions(report)}{_slowest(report)}</div>"
    )


def _facts(report: Report) -> Iterable[tuple[str, str, bool]]:
    of_slots = f" of {plural(report.slots, 'slot')} ({report.slots_used:.0%})" if report.slots else ""
    yield "at once, on average", f"{report.parallelism:.3g}{of_slots}", False
    yield "time of all calls", span(report.wall_seconds), False
    yield "connected for", span(report.connected_seconds), False
    yield "failed", f"{report.failed:,}", report.failed > 0
    for name, count in (
        ("cancelled", report.cancelled),
        ("unfinished", report.unfinished),
        ("run again", report.retried),
    ):
        if count:
            yield name, f"{count:,}", False
    yield "arguments", size(report.argument_bytes), False
    yield "results", size(report.result_bytes), False
    yield "into the object storage", size(report.put_bytes), False
    yield "from the object storage", size(report.fetched_bytes), False


def _number(name: str, value: str, bad: bool) -> str:
    return f"<div><dt>{escape(name)}</dt><dd{_class(bad)}>{escape(value)}</dd></div>"


def _class(bad: bool) -> str:
    return ' class="bad"' if bad else ""


def _functions(report: Report) -> str:
    if not report.functions:
        return ""
    head = "".join(f'<th scope="col">{name}</th>' for name in HEAD)
    rows = "\n".join(_row(function, report.wall_seconds) for function in report.functions)
    return f'<h2>By function</h2><div class="wide"><table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></div>\n'


def _row(function: FunctionReport, whole: float) -> str:
    share = 100 * function.wall_seconds / whole if whole else 0
    times = map(span, (function.wall_seconds, function.wall_p50, function.wall_p95, function.wall_max))
    cpu = map(span, (function.cpu_seconds, function.cpu_p50, function.cpu_p95))
    cells = "".join(f"<td>{text}</td>" for text in (f"{function.retried:,}", *times, *cpu, size(function.memory_peak)))
    return (
        f'<tr><td>{escape(function.name)}<span class="share" style="width: {share:.1f}%" title="{share:.0f}% of the time"></span>'
        f"</td><td>{function.calls:,}</td><td{_class(function.failed > 0)}>{function.failed:,}</td>{cells}"
        f"<td>{_histogram(function)}</td></tr>"
    )


def _histogram(function: FunctionReport) -> str:
    """A bar for each doubling of the time."""
    most = max((count for _, _, count in function.durations), default=0)
    if not most:
        return ""
    bars = "".join(
        f'<rect x="{place * BAR_WIDTH}" y="{BAR_HEIGHT - height:.1f}" width="{BAR_WIDTH - 1}" height="{height:.1f}">'
        f"<title>{duration(low)} to {duration(high)}: {plural(count, 'call')}</title></rect>"
        for place, (low, high, count) in enumerate(function.durations)
        for height in [max(BAR_HEIGHT * count / most, 1.0 if count else 0.0)]
    )
    width, low, high = BAR_WIDTH * len(function.durations), function.durations[0][0], function.durations[-1][1]
    label = f"{plural(function.calls, 'call')}, of {duration(low)} to {duration(high)}"
    return f'<svg width="{width}" height="{BAR_HEIGHT}" role="img" aria-label="{label}">{bars}</svg>'


def _slowest(report: Report) -> str:
    if not report.slowest:
        return ""
    rows = "".join(
        f"<tr><td>{escape(call.function)}</td><td>{call.task_id}</td><td>{span(call.wall_seconds)}</td>"
        f"<td{_class(not call.succeeded)}>{'well' if call.succeeded else 'failed'}</td></tr>"
        for call in report.slowest
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("function", "task", "time", "ended"))
    return (
        f'<h2>Slowest</h2><div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n'
    )
