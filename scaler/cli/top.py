"""``scaler_top MONITOR_ADDRESS``: what a scheduler does, in the terminal."""

from __future__ import annotations

import asyncio
import json
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.cli.command import Command, refuse
from scaler.cli.options import SECURITY, security_of
from scaler.config import Option, address, boolean, interval, parse, seconds
from scaler.errors import ConfigurationError, ScalerError

if TYPE_CHECKING:
    from scaler.monitor.feed import Feed, Recorder, Recording

PROGRAM = "scaler_top"
SECTION = "top"
DESCRIPTION = """Look into a running scheduler: tasks, workers, functions, failures, and why tasks wait.

    scaler_top tcp://127.0.0.1:8518                 the scheduler's port + 2, or what its log says
    scaler_top tcp://127.0.0.1:8518 --once --json   one look, for scripts
    scaler_top --replay FILE                        what --record FILE wrote; ? in the monitor explains its keys
"""
OPTIONS = (
    Option("address", "the scheduler's monitor address", "", str, positional=True),
    Option("interval_seconds", "how often to be told; at least 0.1", 1.0, interval, short="-i"),
    Option("once", "print one look as text, and end", False, boolean),
    Option("json", "with --once: print JSON", False, boolean),
    Option("timeout_seconds", "with --once: how long to try to reach the scheduler", 5.0, seconds, short="-t"),
    Option("record", "write what the scheduler tells into this file"),
    Option("replay", "show what was recorded in this file, instead of a scheduler"),
    *SECURITY,
    Option("replay_speed", "how many times as fast; 0: all at once", 1.0, seconds),
)


def check(options: Namespace) -> None:
    """Raises ConfigurationError for bad usage."""
    if bool(options.address) == bool(options.replay):
        raise ConfigurationError(
            "give ADDRESS or --replay FILE" if not options.address else "--replay needs no ADDRESS"
        )
    if options.address:
        try:
            address(options.address)
        except ValueError as error:
            raise ConfigurationError(f"ADDRESS: {error}") from None
    if options.json and not options.once:
        raise ConfigurationError("--json goes with --once")
    if options.record and options.replay:
        raise ConfigurationError("--record is for a running scheduler, --replay for what was recorded")


def run(options: Namespace) -> int:
    """Until the user has seen enough; returns the exit code."""
    recorder = _recorder(options.record)
    try:
        if options.once:
            return asyncio.run(_once(options, recorder))
        return _watch(options, recorder)
    except ConfigurationError:
        raise
    except ScalerError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        return 1
    finally:
        if recorder is not None:
            recorder.close()


def _recorder(path: str | None) -> Recorder | None:
    from scaler.monitor.feed import Recorder

    try:
        return Recorder(path) if path else None
    except OSError as error:
        raise ConfigurationError(f"--record: cannot write {path}: {error.strerror}") from None


def _source(options: Namespace, recorder: Recorder | None) -> Feed | Recording:
    from scaler.monitor.feed import Feed, Recording, recorded

    if not options.replay:
        interval_seconds, security = max(0.1, options.interval_seconds), security_of(options).load()
        return Feed(address(options.address), _ignore, _ignore, interval_seconds, recorder, PROGRAM, security)
    try:
        updates = recorded(options.replay)
    except OSError as error:
        raise ConfigurationError(f"--replay: cannot read {options.replay}: {error.strerror}") from None
    return Recording(updates, _ignore, speed=options.replay_speed, label=Path(options.replay).name)


def _ignore(_: object) -> None:
    """Until somebody wants to be told."""


async def _once(options: Namespace, recorder: Recorder | None) -> int:
    """Print what there is."""
    from scaler.monitor.feed import Feed
    from scaler.monitor.model import Model
    from scaler.monitor.snapshot import as_json, as_text

    model, source = Model(), _source(options, recorder)
    source.told = model.apply
    if isinstance(source, Feed):
        source.interval_seconds = min(0.5, source.interval_seconds)
        await source.first(options.timeout_seconds, 2)  # Two of them tell how fast it goes.
    else:
        source.speed = 0
        await source.run()
    with suppress(BrokenPipeError):
        print(json.dumps(as_json(model), indent=1) if options.json else as_text(model))
    return 0


def _watch(options: Namespace, recorder: Recorder | None) -> int:
    """Show it as it goes."""
    source = _source(options, recorder)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise ConfigurationError("there is no terminal here; --once prints one look")
    from scaler.tui.app import TopApp

    app = TopApp(source)
    return app.run() or app.return_code or 0


COMMAND = Command(PROGRAM, "Top", SECTION, DESCRIPTION, OPTIONS, check, run, logs=False)


def main(argv: Sequence[str] | None = None) -> int:
    """The entry point."""
    options = parse(PROGRAM, DESCRIPTION, SECTION, OPTIONS, sys.argv[1:] if argv is None else argv)
    try:
        check(options)
        return run(options)
    except ConfigurationError as error:
        return refuse(PROGRAM, error)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    sys.exit(main())
