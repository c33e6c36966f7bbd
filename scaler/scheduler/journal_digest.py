"""What of a journal still matters: of many records the few that say the same. No I/O: records are read as often as asked for."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from scaler.ids import Column, u32, u64
from scaler.messages import (
    JournalArray,
    JournalClient,
    JournalFunctions,
    JournalGone,
    JournalOver,
    JournalRecord,
    JournalResults,
    JournalSubmit,
    ResultStatus,
    Submit,
    SubmitArray,
)
from scaler.scheduler.arrays import gaps
from scaler.scheduler.columns import select_results, select_submit
from scaler.scheduler.sessions import NEUTRAL
from scaler.scheduler.uncollected import in_columns

Records = Callable[[], Iterable[JournalRecord]]


class _Spans:
    """Of sequences: (from, to)."""

    def __init__(self) -> None:
        self._spans: list[tuple[int, int]] = []
        self._in_order = True

    def add(self, begin: int, end: int) -> None:
        self._spans.append((begin, end))
        self._in_order = False

    def near(self, begin: int, end: int) -> list[tuple[int, int]]:
        """Those that have one from ``begin`` up to ``end``."""
        if not self._in_order:
            self._merge()
        first = bisect_right(self._spans, (begin, begin))
        return self._spans[max(first - 1, 0) : bisect_left(self._spans, (end, end))]

    def cover(self, begin: int, end: int) -> bool:
        """Whether all of these are in them."""
        return not list(gaps(begin, end, self.near(begin, end)))

    def _merge(self) -> None:
        merged: list[tuple[int, int]] = []
        for begin, end in sorted(self._spans):
            if merged and begin <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((begin, end))
        self._spans, self._in_order = merged, True


@dataclass(slots=True, eq=False)
class _Client:
    """What is known of one."""

    start: JournalClient
    gone: bool = False
    known: set[int] = field(default_factory=set)
    """Sequences of tasks that were submitted."""
    ended: set[int] = field(default_factory=set)
    """Of tasks and single items."""
    ended_together: _Spans = field(default_factory=_Spans)
    """Of items."""
    stored: set[int] = field(default_factory=set)
    """Of what has ended, those with a result in the object storage: they may have to run again, with all that they take."""
    over: set[int] = field(default_factory=set)
    over_together: _Spans = field(default_factory=_Spans)
    unwanted: set[int] = field(default_factory=set)
    labels: dict[int, tuple[str, str]] = field(default_factory=dict)
    serializers: dict[int, str] = field(default_factory=dict)
    """By function, of those that are called by name."""
    open_from: int | None = None
    """The place of the record with the first part of a graph whose last one is not there."""
    keeps_open: bool = True
    """Whether these parts are kept."""
    edges: dict[int, Sequence[int]] = field(default_factory=dict)
    """What tasks take that may still run."""
    needed: set[int] = field(default_factory=set)
    """What those take that will run, and what may have to be made again for them."""
    functions: set[int] = field(default_factory=set)
    """Those that are still named."""
    next_sequence: int = 0

    # ---- first reading

    def note(self, place: int, record: JournalRecord) -> None:
        if isinstance(record, JournalSubmit):
            self._submitted(place, record.submit)
        elif isinstance(record, JournalArray):
            array_ = record.submit
            self._used(array_.first_sequence + len(u32(array_.item_ends)))
            self._label([array_.first_sequence], [array_.options.name], [array_.function])
        elif isinstance(record, JournalResults):
            self._ended(record)
        elif isinstance(record, JournalOver):
            self._mark(record.sequences, record.counts, self.ended, self.ended_together)
            self._mark(record.sequences, record.counts, self.over, self.over_together)
        elif isinstance(record, JournalFunctions):
            tags = {function.number: function.serializer for function in record.functions}
            self.serializers.update((number, tag) for number, tag in tags.items() if tag in NEUTRAL)
        elif isinstance(record, JournalGone):
            self.gone = True

    def _used(self, end: int) -> None:
        self.next_sequence = max(self.next_sequence, end)

    def _submitted(self, place: int, submit: Submit) -> None:
        sequences = u64(submit.sequences)
        if submit.more and self.open_from is None:
            self.open_from = place
        elif not submit.more:
            self.open_from = None
        if not sequences:
            return
        self._used(max(sequences) + 1)
        if submit.wanted:
            pairs = zip(sequences, submit.wanted, strict=True)
            self.unwanted.update(sequence for sequence, wanted in pairs if not wanted and sequence not in self.known)
        self.known.update(sequences)
        functions, chosen = u32(submit.functions), u32(submit.options)
        if self.serializers or any(options.name for options in submit.option_sets):
            names = [submit.option_sets[number].name for number in chosen] if submit.option_sets else [""]
            self._label(sequences, names, functions)

    def _label(self, sequences: Sequence[int], names: Sequence[str], functions: Sequence[int]) -> None:
        """Names and functions have an entry for each, or one for all."""
        if not self.start.name:
            return
        for i, sequence in enumerate(sequences):
            name = names[i if len(names) > 1 else 0]
            tag = self.serializers.get(functions[i if len(functions) > 1 else 0], "")
            if name or tag:
                self.labels[sequence] = name, tag

    def _ended(self, record: JournalResults) -> None:
        results = record.results
        self._mark(results.tasks, results.counts, self.ended, self.ended_together)
        sequences = u64(results.tasks)
        if ResultStatus.stored in results.statuses:
            pairs = zip(sequences, results.statuses, strict=True)
            self.stored.update(sequence for sequence, status in pairs if status == ResultStatus.stored)
        for i, sequence in enumerate(sequences) if record.names or record.serializers else ():
            name = record.names[i] if record.names else ""
            self.labels[sequence] = name, record.serializers[i] if record.serializers else ""
        counts = u32(results.counts)
        self._used(max((s + (counts[i] if counts else 1) for i, s in enumerate(sequences)), default=0))

    @staticmethod
    def _mark(sequences: Column, counts: Column, singles: set[int], together: _Spans) -> None:
        lengths = u32(counts)
        if not lengths:
            singles.update(u64(sequences))
            return
        for sequence, count in zip(u64(sequences), lengths, strict=True):
            if count > 1:
                together.add(sequence, sequence + count)
            else:
                singles.add(sequence)

    # ---- second reading

    def connect(self, submit: Submit) -> None:
        """Note what tasks take that may still run."""
        ends, dependencies = u32(submit.dependency_ends), u64(submit.dependencies)
        begin = 0
        for sequence, end in zip(u64(submit.sequences), ends, strict=bool(ends)):
            if sequence not in self.ended or sequence in self.stored:
                self.edges.setdefault(sequence, dependencies[begin:end])
            begin = end

    def find_needed(self) -> None:
        pending = [s for s in self.edges if s not in self.ended and s not in self.unwanted]
        while pending:
            for dependency in self.edges.get(pending.pop(), ()):
                if dependency not in self.needed:
                    self.needed.add(dependency)
                    pending.append(dependency)
        self.edges.clear()

    # ---- what is left of a record

    def left_of_submit(self, place: int, submit: Submit, said: set[int]) -> list[int]:
        """The places of tasks that have not ended, or are needed, and were not in an earlier record."""
        sequences = u64(submit.sequences)
        if self.open_from is not None and place >= self.open_from:
            chosen = [i for i, sequence in enumerate(sequences) if sequence not in said] if self.keeps_open else []
        elif self.ended.issuperset(sequences) and self.needed.isdisjoint(sequences):
            return []
        else:
            chosen = [i for i, s in enumerate(sequences) if self._stays(s) and s not in said]
        said.update(sequences[i] for i in chosen)
        return chosen

    def _stays(self, sequence: int) -> bool:
        return sequence in self.needed or not (sequence in self.ended or sequence in self.unwanted)

    def left_of_array(self, submit: SubmitArray, said: _Spans) -> list[tuple[int, int]]:
        """(from, to), by sequences, of items that have not ended, and were not in an earlier record."""
        begin = submit.first_sequence
        end = begin + len(u32(submit.item_ends))
        taken = [*_within(self.ended, begin, end), *self.ended_together.near(begin, end), *said.near(begin, end)]
        left = list(gaps(begin, end, taken))
        for first, last in left:
            said.add(first, last)
        return left

    def left_of_results(self, record: JournalResults) -> JournalResults | None:
        """Those that are not over, or needed."""
        results, counts = record.results, u32(record.results.counts)
        sequences = u64(results.tasks)
        chosen = [
            i
            for i, sequence in enumerate(sequences)
            if sequence in self.needed or self._uncollected(sequence, counts[i] if counts else 1)
        ]
        if not chosen:
            return None
        labels = [self.labels.get(sequences[i], ("", "")) for i in chosen]
        names, tags = [name for name, _ in labels], [tag for _, tag in labels]
        kept = results if len(chosen) == len(sequences) else select_results(results, chosen)
        return JournalResults(self.start.client, kept, names if any(names) else [], tags if any(tags) else [])

    def _uncollected(self, sequence: int, count: int) -> bool:
        if not self.start.name or sequence in self.unwanted:
            return False
        return not (count == 1 and sequence in self.over) and not self.over_together.cover(sequence, sequence + count)


def _within(sequences: set[int], begin: int, end: int) -> list[tuple[int, int]]:
    if end - begin < len(sequences):
        return [(sequence, sequence + 1) for sequence in range(begin, end) if sequence in sequences]
    return [(sequence, sequence + 1) for sequence in sequences if begin <= sequence < end]


class Digest:
    """Made of all records, which are read a few times. ``at_start``: nobody goes on with a graph of which parts are missing."""

    def __init__(self, read: Records, at_start: bool = False) -> None:
        self._read = read
        self.passed_over = 0
        """Records of clients of which the journal does not say who they are."""
        self._starts: dict[int, _Client] = {}
        """By the place of the record that begins a client."""
        self._orphans: dict[int, _Client] = {}
        """By number: whose records those are that come before anything says who that is."""
        self._find_clients()
        for place, client, record in self._of_clients():
            client.note(place, record)
        for _, client, record in self._of_clients():
            if isinstance(record, JournalSubmit) and not client.gone:
                client.connect(record.submit)
        for client in self.clients:
            client.keeps_open = not at_start
            client.find_needed()

    @property
    def clients(self) -> list[_Client]:
        """In the order in which they came."""
        return list(dict.fromkeys(self._starts.values()))

    def _find_clients(self) -> None:
        now: dict[int, _Client] = {}
        of_identity: dict[bytes, _Client] = {}
        for place, record in enumerate(self._read()):
            if isinstance(record, JournalClient):
                client = now.get(record.client)
                if client is None or client.start.identity != record.identity:
                    for before in (client, of_identity.get(record.identity)):
                        if before is not None:
                            before.gone = True  # The record that said so is lost.
                    client = now[record.client] = of_identity[record.identity] = _Client(record)
                    self._orphans.setdefault(record.client, client)
                client._used(record.next_sequence)
                self._starts[place] = client

    def _of_clients(self) -> Iterator[tuple[int, _Client, JournalRecord]]:
        now = dict(self._orphans)
        self.passed_over = 0
        for place, record in enumerate(self._read()):
            if place in self._starts:
                now[record.client] = self._starts[place]
            client = now.get(record.client)
            if client is None:
                self.passed_over += 1
            else:
                yield place, client, record

    # ---- what is left

    def records(self) -> Iterator[JournalRecord]:
        """What says the same as all of them."""
        alive = [client for client in self.clients if not client.gone]
        for client in alive:
            yield JournalClient(client.start.client, client.start.identity, client.start.name, client.next_sequence)
        self._find_functions()
        begun: set[_Client] = set()
        tasks: dict[_Client, set[int]] = {client: set() for client in alive}
        items = {client: _Spans() for client in alive}
        for place, client, record in self._of_clients():
            if client.gone:
                continue
            if isinstance(record, JournalFunctions):
                yield from _functions(client, record)
            elif isinstance(record, JournalSubmit):
                yield from _submission(client, place, record, tasks[client], begun)
            elif isinstance(record, JournalArray):
                for begin, end in client.left_of_array(record.submit, items[client]):
                    yield JournalArray(record.client, _part(record.submit, begin, end))
            elif isinstance(record, JournalResults):
                left = client.left_of_results(record)
                if left is not None:
                    yield left
        for client in alive:
            over = client.needed & client.over
            if over:
                yield JournalOver(client.start.client, *in_columns((sequence, 1) for sequence in over))

    def _find_functions(self) -> None:
        tasks: dict[_Client, set[int]] = {client: set() for client in self.clients}
        items = {client: _Spans() for client in self.clients}
        for place, client, record in self._of_clients():
            if isinstance(record, JournalSubmit) and not client.gone:
                functions = u32(record.submit.functions)
                left = client.left_of_submit(place, record.submit, tasks[client])
                client.functions.update(functions[i if len(functions) > 1 else 0] for i in left)
            elif isinstance(record, JournalArray) and client.left_of_array(record.submit, items[client]):
                client.functions.add(record.submit.function)


def _functions(client: _Client, record: JournalFunctions) -> Iterator[JournalRecord]:
    """Those that are named, once."""
    named = [function for function in record.functions if function.number in client.functions]
    client.functions.difference_update(function.number for function in named)
    if named:
        yield JournalFunctions(record.client, named)


def _submission(
    client: _Client, place: int, record: JournalSubmit, said: set[int], begun: set[_Client]
) -> Iterator[JournalRecord]:
    """What is left of a submission. Of a graph in parts there is a last one, if any is left."""
    submit = record.submit
    left = client.left_of_submit(place, submit, said)
    if left or (client in begun and not submit.more):
        yield JournalSubmit(record.client, _selected(client, submit, left))
    if left and submit.more:
        begun.add(client)
    elif not submit.more:
        begun.discard(client)


def _selected(client: _Client, submit: Submit, left: list[int]) -> Submit:
    """These tasks; those that have ended, and will not run again, without what they took."""
    selected = submit if len(left) == len(u64(submit.sequences)) else select_submit(submit, left)
    sequences, ends, dependencies = u64(selected.sequences), u32(selected.dependency_ends), u64(selected.dependencies)
    if not ends or client.ended.isdisjoint(sequences):
        return selected
    new_ends, new_dependencies, begin = array("I"), array("Q"), 0
    for sequence, end in zip(sequences, ends, strict=True):
        if sequence not in client.ended or sequence in client.stored:
            new_dependencies.extend(dependencies[begin:end])
        new_ends.append(len(new_dependencies))
        begin = end
    return Submit(
        selected.sequences,
        selected.functions,
        selected.payloads,
        selected.option_sets,
        selected.options,
        new_ends,
        new_dependencies,
        selected.wanted,
        selected.more,
    )


def _part(submit: SubmitArray, begin: int, end: int) -> SubmitArray:
    """Items by their sequences."""
    ends = u32(submit.item_ends)
    first, last = begin - submit.first_sequence, end - submit.first_sequence
    before = ends[first - 1] if first else 0
    cut = array("I", [place - before for place in ends[first:last]]) if before else ends[first:last]
    return SubmitArray(begin, submit.function, submit.items[before : ends[last - 1]], cut, submit.options)
