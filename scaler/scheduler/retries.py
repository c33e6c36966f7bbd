"""Which failures are worth another try, by the names of types: nothing is unpickled here. And how many there were."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import TYPE_CHECKING

from scaler.errors import ProtocolError
from scaler.ids import Column
from scaler.messages import Failure, TaskOptions
from scaler.wire.codec import struct_codec

if TYPE_CHECKING:
    from scaler.scheduler.special import Special

MAX_DEATHS = 3
"""A task that was running in more deaths than this fails."""


KEPT_ERRORS, LONGEST_ERROR = 5, 300
"""Of a task that is tried again and again: how many of its errors are kept, and how many characters of each."""


def is_retried(options: TaskOptions, failure: bytes) -> bool:
    """Whether a failure is of a type that ``options`` has tasks run again for. Raises ProtocolError for what is no Failure."""
    if not options.retry_on:
        return True
    read: Failure = struct_codec("task", "Failure").decode(failure)
    return not {read.type_name, *read.types}.isdisjoint(options.retry_on)


def note_error(special: Special, failure: bytes) -> None:
    """A task failed and is run again: of the last errors a line is kept."""
    try:
        read: Failure = struct_codec("task", "Failure").decode(failure)
        line = f"{read.type_name}: {read.message}".splitlines()[0][:LONGEST_ERROR]
    except ProtocolError:
        line = "an error that cannot be read"
    special.retried += 1
    special.errors = [*special.errors[1 - KEPT_ERRORS :], line]


def attempts_of(special: Special) -> list[str]:
    """What became of the attempts before, for people: errors first, then deaths."""
    before = special.retried - len(special.errors)
    more = [f"failed {before} times before that"] if before else []
    return [*more, *(f"failed with {error}" for error in special.errors), *special.deaths]


def times_retried(special: Special | None) -> int:
    """How often a task was run again, after errors and deaths."""
    return special.retried + min(len(special.deaths), MAX_DEATHS) if special is not None else 0


def retried_column(special: Mapping[int, Special], tasks: array[int]) -> Column:
    """The same of many tasks, as results have it: empty where all are 0."""
    column = array("I", [times_retried(special.get(task)) for task in tasks]) if special else b""
    return column if any(column) else b""
