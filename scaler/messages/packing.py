"""How much is put into one message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from scaler.messages.task import Function

MESSAGE_BYTES = 8 << 20
"""About how much is put into one message that carries many payloads: far less than a frame may have."""


def runs(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Ranges that cover all positions in order, each of MESSAGE_BYTES at most or of one position."""
    if sum(sizes) <= MESSAGE_BYTES:
        yield 0, len(sizes)
        return
    first = total = 0
    for position, size in enumerate(sizes):
        if total + size > MESSAGE_BYTES and position > first:
            yield first, position
            first, total = position, 0
        total += size
    yield first, len(sizes)


def function_runs(functions: Sequence[Function]) -> Iterator[list[Function]]:
    """Functions in lists that fit into one message each."""
    for first, last in runs([len(function.content) for function in functions]):
        yield list(functions[first:last])
