"""``scaler_top MONITOR_ADDRESS``: what a scheduler does, in the terminal."""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from scaler.cli.arguments import parse
from scaler.cli.command import Command, refuse
from scaler.cli.options import SECURITY, security_of
from scaler.config import Option, address, boolean, count, grouped, interval, seconds
from scaler.display import plural
from scaler.errors import ConfigurationError, ScalerError

if TYPE_CHECKING:
    from scaler.messages import Update
    from scaler.monitor.export import Export
    from scaler.monitor.feed import Feed, Recorder, Recording
    from scaler.monitor.profile import Profile

PROGRAM = "scaler_top"
SECTION = "top"
DESCRIPTION = """Look into a running scheduler: tasks, workers, functions, failures, and why tasks wait.

    scaler_top tcp://127.0.0.1:8518                 the scheduler's port + 2, or what its log says
    scaler_top tcp://127.0.0.1:8518 --once --json   one look, for scripts
    scaler_top tcp://127.0.0.1:8518 --profile 10    where tasks are in their code, in the next 10 s
    scaler_top --replay FILE                        what --record FILE wrote; ? in the monitor explains its keys
    scaler_top tcp://127.0.0.1:8518 --export t.json what each slot runs, until Ctrl-C, as a trace for ui.perfetto.dev
"""
OPTIONS = (
    Option("address", "the scheduler's monitor address, its port + 2: tcp://host:8518", "", str, positional=True),
    Option("interval_seconds", "how often to be told; at least 0.1", 1.0, interval, short="-i"),
    Option("once", "print one look as text, and end", False, boolean),
    Option("json", "with --once or --profile: print JSON", False, boolean),
    Option(
        "timeout_seconds", "with --once or --profile: how long to try to reach the scheduler", 5.0, seconds, short="-t"
    ),
    *grouped(
        "profile: where tasks are in their code",
        Option("profile", "look for so many seconds, print what was seen as text, and end", 0.0, seconds),
        Option("profile_hertz", "how often a second to look, 1 to 1000", 100, count),
        Option("profile_function", "only while a function of this name runs", value="NAME"),
        Option(
            "profile_file",
            "write the profile into this file, for speedscope (.json) or as folded stacks (.folded)",
        ),
    ),
    *grouped(
        "record, replay and export",
        Option("record", "write what the scheduler tells into this file", value="FILE"),
        Option("replay", "show what was recorded in this file, instead of a scheduler", value="FILE"),
        Option("replay_speed", "how many times as fast; 0: all at once", 1.0, seconds, value="FACTOR"),
        Option(
            "export",
            "write the tasks that end into this file, instead of showing anything: a trace for Perfetto and Chrome (.json,"
            " .json.gz), a table (.csv, .csv.gz, .parquet); until Ctrl-C, or to the end of what --replay names",
            value="FILE",
        ),
        Option("for_seconds", "with --export: how long; 0: until Ctrl-C", 0.0, seconds),
    ),
    *SECURITY,
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
    if options.json and not (options.once or options.profile):
        raise ConfigurationError("--json goes with --once and --profile")
    if options.export:
        from scaler.monitor.export import check_suffix

        check_suffix(options.export)
        if options.once:
            raise ConfigurationError(
                "--export writes what happens from now on, --once shows what there is; give one of them"
            )
    if options.for_seconds and not (options.export and options.address):
        raise ConfigurationError("--for-seconds goes with ADDRESS and --export")
    _check_profile(options)
    if options.record and options.replay:
        raise ConfigurationError("--record is for a running scheduler, --replay for what was recorded")


def _check_profile(options: Namespace) -> None:
    if options.profile and (options.once or options.replay or options.record):
        raise ConfigurationError("--profile goes without --once, --record and --replay")
    if options.profile_file and not options.profile_file.endswith((".json", ".folded")):
        raise ConfigurationError(f"--profile-file: {options.profile_file} ends neither with .json nor with .folded")
    if not options.profile and (options.profile_file or options.profile_function):
        raise ConfigurationError("--profile-file and --profile-function go with --profile SECONDS")


def run(options: Namespace) -> int:
    """Until the user has seen enough; returns the exit code."""
    recorder = _recorder(options.record)
    try:
        if options.export:
            return _export(options, recorder)
        if options.profile:
            return asyncio.run(_profile(options))
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


def _export(options: Namespace, recorder: Recorder | None) -> int:
    """Write the task stream; Ctrl-C is the usual end of it."""
    from scaler.monitor.export import Export, open_task_file

    try:
        export = Export(open_task_file(options.export))
    except OSError as error:
        raise ConfigurationError(f"--export: cannot write {options.export}: {error.strerror}") from None
    try:
        if options.replay:
            _replay_into(export, options.replay)
        else:
            asyncio.run(_follow(export, options, recorder))
    except KeyboardInterrupt:
        pass
    except OSError as error:
        raise ScalerError(f"cannot write {options.export}: {error.strerror}") from None
    finally:
        with suppress(OSError):
            export.close()
    missing = (
        f"; {plural(export.model.left_out, 'more task')} ended that the sample leaves out"
        if export.model.left_out
        else ""
    )
    print(f"{options.export}: {plural(export.written, 'task')}{missing}")
    return 0


def _replay_into(export: Export, path: str) -> None:
    from scaler.monitor.feed import read_recording

    try:
        file = read_recording(path)
        first = next(file)
    except OSError as error:
        raise ConfigurationError(f"--replay: cannot read {path}: {error.strerror}") from None
    for update in itertools.chain((first,), file):
        export.apply(update)


async def _follow(export: Export, options: Namespace, recorder: Recorder | None) -> None:
    """Until the time is over, by way of a connection that is made again when it is lost. What cannot be written ends it."""
    from scaler.monitor.feed import Feed, Status

    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def told(update: Update) -> None:
        try:
            export.apply(update)
        except OSError as error:
            if not over.done():
                over.set_exception(error)

    def changed(status: Status) -> None:
        sys.stderr.write(f"{PROGRAM}: {status.text}\n")

    def end() -> None:
        if not over.done():
            over.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, end)
    source = _source(options, recorder)
    assert isinstance(source, Feed)
    source.told, source.changed = told, changed
    running = asyncio.ensure_future(source.run())
    done, _ = await asyncio.wait(
        {running, over}, timeout=options.for_seconds or None, return_when=asyncio.FIRST_COMPLETED
    )
    running.cancel()
    await asyncio.wait({running})
    for one in done:
        one.result()


async def _profile(options: Namespace) -> int:
    """Take a profile, and print it."""
    from scaler.monitor.feed import Feed
    from scaler.monitor.profile import Profile
    from scaler.monitor.profile_text import as_json, as_text

    profile = Profile(options.profile, options.profile_hertz, function=options.profile_function or "")
    feed = Feed(address(options.address), _ignore, name=PROGRAM)
    await feed.take(profile, options.timeout_seconds)
    if options.profile_file:
        _write_profile(profile, Path(options.profile_file))
    with suppress(BrokenPipeError):
        print(json.dumps(as_json(profile), indent=1) if options.json else as_text(profile))
    return 0


def _write_profile(profile: Profile, path: Path) -> None:
    from scaler.monitor.profile_text import as_folded, as_speedscope

    try:
        path.write_text(as_folded(profile) if path.suffix == ".folded" else json.dumps(as_speedscope(profile)))
    except OSError as error:
        raise ConfigurationError(f"--profile-file: cannot write {path}: {error.strerror}") from None


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
