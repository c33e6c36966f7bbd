"""Journals that are cut, flipped, overwritten and mixed up: ``python -m tests.scheduler.damage 10000`` reads so many of them.

Every one opens, and costs what was damaged and nothing else.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from array import array
from pathlib import Path

from scaler.messages import (
    Function,
    JournalArray,
    JournalClient,
    JournalFunctions,
    JournalGone,
    JournalOver,
    JournalRecord,
    JournalResults,
    JournalSubmit,
    Results,
    Submit,
    SubmitArray,
)
from scaler.scheduler.journal_file import JournalFile, encoded
from scaler.scheduler.journal_format import decoded, header, scan
from scaler.scheduler.settings import SchedulerSettings
from scaler.scheduler.state import SchedulerState


def journal(chance: random.Random) -> list[bytes]:
    """The records of some clients, as they would be written."""
    records: list[JournalRecord] = []
    next_sequence: dict[int, int] = {}
    for _ in range(chance.randint(1, 60)):
        client = chance.choice((1, 2, 3))
        if client not in next_sequence:
            records.append(JournalClient(client, bytes([client]) * 16, chance.choice(("", "nightly"))))
            records.append(JournalFunctions(client, [Function(0, "s", chance.randbytes(chance.choice((3, 500))))]))
            next_sequence[client] = 0
        records.append(_record(chance, client, next_sequence))
        if isinstance(records[-1], JournalGone):
            del next_sequence[client]
    return list(encoded(records))


def _record(chance: random.Random, client: int, next_sequence: dict[int, int]) -> JournalRecord:
    first, count = next_sequence[client], chance.randint(1, 6)
    kind = chance.choice((*"ssssaaarrrroo", "g"))
    some = array("Q", sorted(chance.sample(range(first + 1), min(count, first + 1))))
    if kind == "s":
        next_sequence[client] += count
        sequences = array("Q", range(first, first + count))
        needs = [chance.randrange(sequence) for sequence in sequences if sequence]
        ends = array("I", range(len(needs) - count + 1, len(needs) + 1)) if needs and first else array("I")
        dependencies = array("Q", needs if first else ())
        wanted = bytes(chance.choice((0, 1)) for _ in sequences) if chance.random() < 0.3 else b""
        more = chance.random() < 0.2
        payloads = [chance.randbytes(chance.choice((0, 9, 300))) for _ in sequences]
        submit = Submit(sequences, array("I", [0]), payloads, [], b"", ends, dependencies, wanted, more)
        return JournalSubmit(client, submit)
    if kind == "a":
        next_sequence[client] += count
        ends = array("I", range(2, 2 * count + 2, 2))
        return JournalArray(client, SubmitArray(first, 0, b"xy" * count, ends))
    if kind == "r":
        nothing = array("Q", bytes(8 * len(some)))
        statuses = bytes(chance.choice((1, 1, 1, 2, 3)) for _ in some)
        return JournalResults(client, Results(some, b"", statuses, [b"r" * 24] * len(some), nothing, nothing, nothing))
    return JournalOver(client, some) if kind == "o" else JournalGone(client)


def damaged(chance: random.Random, messages: list[bytes]) -> tuple[bytes, list[bytes]]:
    """A file of these records, with some damage; and the records that it has not touched."""
    pieces = [header(number, message) + message for number, message in enumerate(messages)]
    data = bytearray(b"".join(pieces))
    ends = [sum(map(len, pieces[: i + 1])) for i in range(len(pieces))]
    begins = [0, *ends[:-1]]
    kind = chance.choice(("cut", "flip", "flips", "garbage", "zeros", "repeated", "appended"))
    place = chance.randrange(len(data))
    if kind == "cut":
        del data[place:]
    elif kind == "flip":
        data[place] ^= 1 << chance.randrange(8)
    elif kind in ("flips", "garbage", "zeros"):
        size = min(chance.choice((1, 8, 100, 5000)), len(data) - place)
        data[place : place + size] = bytes(size) if kind == "zeros" else chance.randbytes(size)
    elif kind == "repeated":
        # Some records stand in it once more, after others that follow them.
        i, j = sorted(chance.sample(range(len(pieces) + 1), 2))
        at = ends[chance.randrange(j - 1, len(pieces))]
        data[at:at] = b"".join(pieces[i:j])
        return bytes(data), messages
    else:
        data += chance.randbytes(chance.randint(1, 2000))
    whole = [data[begin:end] == piece for begin, end, piece in zip(begins, ends, pieces, strict=True)]
    return bytes(data), [message for message, is_whole in zip(messages, whole, strict=True) if is_whole]


def judge(seed: int, directory: Path) -> None:
    """Raises AssertionError, with the seed, where more is lost than was damaged, or no scheduler starts with what is left."""
    chance = random.Random(seed)
    data, whole = damaged(chance, journal(chance))
    found = scan(data)
    read = [data[begin:end] for begin, end in found.records]
    assert read == whole, f"seed {seed}: {len(read)} records are read, {len(whole)} are whole"
    path = directory / "journal"
    path.write_bytes(data)
    file, told = JournalFile.open(path)
    file.close()
    damage = bool(found.damaged or found.torn_bytes)
    assert bool(told.warnings) >= damage, f"seed {seed}: nothing is told of the damage"
    _start(told.records, seed)
    again = list(decoded(path.read_bytes(), scan(path.read_bytes()).records))
    assert list(encoded(again)) == list(encoded(told.records)), f"seed {seed}: the next start finds something else"


def _start(records: list[JournalRecord], seed: int) -> None:
    state = SchedulerState(SchedulerSettings("tcp://storage:1", journal=True))
    state.restore(records, 100.0)
    for now in (100.0, 101.0, 102.5, 110.0):
        state.tick(now)
        state.drain(now)
        state.check()
    broken = [line.text for line in state._out.lines.since(0) if "cannot be used" in line.text]
    assert not broken, f"seed {seed}: {broken}"


def main(argv: list[str]) -> int:
    count = int(argv[0]) if argv else 10_000
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as directory:
        for seed in range(count):
            judge(seed, Path(directory))
    print(f"{count:,} damaged journals: all open, only what was damaged is lost; {time.perf_counter() - began:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
