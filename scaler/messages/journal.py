"""The structs of ``protocol/journal.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from scaler.ids import Column
from scaler.messages.client import Submit, SubmitArray
from scaler.messages.task import Function, Results


@dataclass(slots=True)
class JournalClient:
    client: int
    identity: bytes
    name: str = ""
    next_sequence: int = 0


@dataclass(slots=True)
class JournalFunctions:
    client: int
    functions: list[Function]


@dataclass(slots=True)
class JournalSubmit:
    client: int
    submit: Submit


@dataclass(slots=True)
class JournalArray:
    client: int
    submit: SubmitArray


@dataclass(slots=True)
class JournalResults:
    client: int
    results: Results
    names: list[str] = field(default_factory=list)
    serializers: list[str] = field(default_factory=list)


@dataclass(slots=True)
class JournalOver:
    client: int
    sequences: Column
    counts: Column = b""


@dataclass(slots=True)
class JournalGone:
    client: int


JournalRecord: TypeAlias = (
    JournalClient | JournalFunctions | JournalSubmit | JournalArray | JournalResults | JournalOver | JournalGone
)
