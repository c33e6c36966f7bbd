"""Messages of columns: checked, cut and chosen from, by position."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from operator import gt

from scaler._core.analysis import find_cycle
from scaler.errors import ProtocolError
from scaler.ids import MAX_SEQUENCE, Column, u32, u64
from scaler.messages import Assign, Inputs, Results, Submit, TaskOptions, runs
from scaler.scheduler.placement import Placement


def checked_results(message: Results) -> Results:
    """The message, fresh from the wire. Raises ProtocolError when its columns do not fit together."""
    count = len(message.payloads)
    if not (
        len(message.statuses) == count
        and len(message.tasks) == len(message.wall_microseconds) == 8 * count
        and len(message.cpu_microseconds) == len(message.peak_memory_bytes) == 8 * count
        and len(message.attempts) == 4 * count
        and len(message.counts) in (0, 4 * count)
        and len(message.item_ends) in (0, count)
        and len(message.slots) in (0, 4 * count)
    ):
        raise ProtocolError("columns of different lengths")
    return message


def select_results(message: Results, chosen: Sequence[int]) -> Results:
    """The entries at these positions."""
    return Results(
        _pick(u64(message.tasks), chosen),
        _pick(u32(message.attempts), chosen) if len(message.attempts) else b"",
        bytes([message.statuses[i] for i in chosen]),
        [message.payloads[i] for i in chosen],
        _pick(u64(message.wall_microseconds), chosen),
        _pick(u64(message.cpu_microseconds), chosen),
        _pick(u64(message.peak_memory_bytes), chosen),
        _pick(u32(message.counts), chosen) if len(message.counts) else b"",
        [message.item_ends[i] for i in chosen] if message.item_ends else [],
        _pick(u32(message.slots), chosen) if len(message.slots) else b"",
        _pick(u32(message.retried), chosen) if len(message.retried) else b"",
    )


def profile_of(message: Results) -> tuple[int, int, int]:
    """Wall and processor time in microseconds and peak bytes of the first entry."""
    columns = message.wall_microseconds, message.cpu_microseconds, message.peak_memory_bytes
    wall, cpu, peak = (u64(column)[0] for column in columns)
    return wall, cpu, peak


def cut_results(message: Results) -> Iterator[Results]:
    """The message in pieces that are not much larger than MESSAGE_BYTES."""
    for first, last in runs([len(payload) for payload in message.payloads]):
        whole = last - first == len(message.payloads)
        yield message if whole else select_results(message, range(first, last))


def checked_submit(message: Submit) -> Submit:
    """The message, fresh from the wire. Raises ProtocolError when its columns do not fit together, or tasks need each other."""
    sequences, ends, dependencies = u64(message.sequences), u32(message.dependency_ends), u64(message.dependencies)
    count = len(sequences)
    for name, length, allowed in (
        ("payloads", len(message.payloads), (count,)),
        ("functions", len(u32(message.functions)), (1, count)),
        ("options", len(u32(message.options)), (1, count) if message.option_sets else (0, 1, count)),
        ("wanted", len(message.wanted), (0, count)),
        ("dependencyEnds", len(ends), (0, count)),
    ):
        if length not in allowed:
            raise ProtocolError(f"{count} sequences, but {length} entries in the column `{name}`")
    if ends and (ends[-1] != len(dependencies) or any(map(gt, ends, ends[1:]))):
        raise ProtocolError("the columns of dependencies do not fit together")
    if ends and dependencies and max(dependencies) > MAX_SEQUENCE:
        raise ProtocolError(f"a dependency is greater than {MAX_SEQUENCE}")
    if ends and _need_each_other(sequences, ends, dependencies):
        raise ProtocolError("tasks depend on each other in a circle")
    return message


def _need_each_other(sequences: array[int], ends: array[int], dependencies: array[int]) -> bool:
    """Whether there is a circle, which only a task that needs a later one can close."""
    begins = [0, *ends[:-1]]
    spans = list(zip(sequences, begins, ends, strict=True))
    if all(begin == end or max(dependencies[begin:end]) < sequence for sequence, begin, end in spans):
        return False
    places = {sequence: place for place, sequence in enumerate(sequences)}
    inner, inner_ends = array("I"), array("I")
    for _, begin, end in spans:
        inner.extend(places[needed] for needed in dependencies[begin:end] if needed in places)
        inner_ends.append(len(inner))
    return bool(find_cycle(inner_ends, inner))


def select_submit(message: Submit, chosen: Sequence[int]) -> Submit:
    """The tasks at these positions."""
    ends, dependencies = u32(message.dependency_ends), u64(message.dependencies)
    new_ends, new_dependencies = array("I"), array("Q")
    for i in chosen if ends else ():
        new_dependencies.extend(dependencies[ends[i - 1] if i else 0 : ends[i]])
        new_ends.append(len(new_dependencies))
    return Submit(
        _pick(u64(message.sequences), chosen),
        _pick_or_same(message.functions, chosen),
        [message.payloads[i] for i in chosen],
        message.option_sets,
        _pick_or_same(message.options, chosen),
        new_ends,
        new_dependencies,
        bytes([message.wanted[i] for i in chosen]) if message.wanted else b"",
        message.more,
    )


def option_groups(message: Submit, count: int) -> list[tuple[TaskOptions, array[int]]]:
    """Which options go with which positions; all that a message of ``count`` tasks says of options."""
    if not message.option_sets:
        return []
    chosen = u32(message.options)
    if len(chosen) == 1:
        return [(message.option_sets[chosen[0]], array("I", range(count)))]
    places: dict[int, array[int]] = {}
    for position, number in enumerate(chosen):
        places.setdefault(number, array("I")).append(position)
    return [(message.option_sets[number], positions) for number, positions in places.items()]


def needed(message: Submit, chosen: Sequence[int], spared: dict[int, int]) -> list[int]:
    """The positions of tasks (``spared``: sequence to position) that the chosen ones depend on, directly or not."""
    ends, dependencies = u32(message.dependency_ends), u64(message.dependencies)
    found: dict[int, None] = {}
    pending = list(chosen) if ends else []
    while pending:
        place = pending.pop()
        for sequence in dependencies[ends[place - 1] if place else 0 : ends[place]]:
            dependency = spared.get(sequence)
            if dependency is not None and dependency not in found:
                found[dependency] = None
                pending.append(dependency)
    return list(found)


def assignments(placement: Placement) -> Iterator[Assign]:
    """A placement as messages that are not much larger than MESSAGE_BYTES."""
    sizes = list(map(len, placement.payloads))
    for i, item_ends in enumerate(placement.item_ends):
        sizes[i] += len(item_ends)
    ends = u32(placement.inputs.ends)
    begin = 0
    for i, end in enumerate(ends):
        sizes[i] += sum(len(payload) for payload in placement.inputs.payloads[begin:end])
        begin = end
    one_function = placement.functions.count(placement.functions[0]) == len(placement.functions)
    for first, last in runs(sizes):
        yield Assign(
            placement.ids[first:last],
            placement.attempts[first:last],
            placement.functions[:1] if one_function else placement.functions[first:last],
            placement.payloads[first:last],
            placement.timeouts[first:last] if placement.timeouts is not None else b"",
            _cut_inputs(placement.inputs, first, last) if ends else Inputs(),
            placement.item_ends[first:last],
            placement.sequences[first:last] if placement.sequences is not None else b"",
            trace_contexts=placement.trace_contexts[first:last],
        )


def _cut_inputs(inputs: Inputs, first: int, last: int) -> Inputs:
    ends = u32(inputs.ends)
    begin, end = ends[first - 1] if first else 0, ends[last - 1]
    return Inputs(
        array("I", [e - begin for e in ends[first:last]]), inputs.statuses[begin:end], inputs.payloads[begin:end]
    )


def _pick(values: array[int], chosen: Sequence[int]) -> array[int]:
    return array(values.typecode, [values[i] for i in chosen])


def _pick_or_same(column: Column, chosen: Sequence[int]) -> Column:
    """A u32 column in which one entry may stand for all."""
    values = u32(column)
    return values if len(values) < 2 else _pick(values, chosen)
