"""Which failures are worth another try, by the names of types: nothing is unpickled here."""

from __future__ import annotations

from scaler.messages import Failure, TaskOptions
from scaler.wire.codec import struct_codec


def is_retried(options: TaskOptions, failure: bytes) -> bool:
    """Whether a failure is of a type that ``options`` has tasks run again for. Raises ProtocolError for what is no Failure."""
    if not options.retry_on:
        return True
    read: Failure = struct_codec("task", "Failure").decode(failure)
    return not {read.type_name, *read.types}.isdisjoint(options.retry_on)
