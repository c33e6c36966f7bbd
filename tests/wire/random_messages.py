"""Random messages of every struct, led by the schemas."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from typing import Any

import pytest
from hypothesis import strategies as st

from scaler import messages
from scaler.wire import schema
from scaler.wire.codec import codec, snake

FILES = (
    "client",
    "executor",
    "handshake",
    "host",
    "journal",
    "manager",
    "monitor",
    "profile",
    "storage",
    "task",
    "worker",
)
UNIONS = [
    ("client", "ClientToScheduler"),
    ("client", "SchedulerToClient"),
    ("executor", "WorkerToForkServer"),
    ("executor", "ForkServerToWorker"),
    ("executor", "WorkerToExecutor"),
    ("executor", "ExecutorToWorker"),
    ("handshake", "Handshake"),
    ("host", "HostToStorage"),
    ("host", "StorageToHost"),
    ("journal", "JournalRecord"),
    ("manager", "ManagerToScheduler"),
    ("manager", "SchedulerToManager"),
    ("monitor", "MonitorToScheduler"),
    ("monitor", "SchedulerToMonitor"),
    ("storage", "ToStorage"),
    ("storage", "FromStorage"),
    ("worker", "WorkerToScheduler"),
    ("worker", "SchedulerToWorker"),
]
CLASSES = {
    name: c for name, c in vars(messages).items() if is_dataclass(c) and c.__module__.startswith(messages.__name__)
}
NESTED = {
    "ConnectedWorker",
    "DesiredSet",
    "RecoveredClient",
    "Piece",
    "Function",
    "TaskOptions",
    "Failure",
    "Inputs",
    "TaskCounts",
    "WorkerFacts",
    "ClientFacts",
    "ManagerFacts",
    "EndedTasks",
    "ExecutorFacts",
    "FailedTask",
    "FunctionFacts",
    "GraphFacts",
    "LogLine",
    "SchedulerFacts",
    "WaitingTasks",
}


def structs() -> dict[str, Any]:
    """Every struct of every schema by its name, the unions of conversations apart."""
    found: dict[str, Any] = {}
    unions = {union for _, union in UNIONS}
    for file in FILES:
        for name, kind in vars(schema.load(file)).items():
            node = getattr(getattr(kind, "schema", None), "node", None)
            if node is not None and str(node.which()) == "struct" and name not in unions:
                found[name] = kind.schema
    return found


STRUCTS = structs()
ARMS = [
    (codec(*union), kind) for union in UNIONS for kind in sorted(codec(*union).vocabulary, key=lambda c: c.__name__)
]
arms = pytest.mark.parametrize(("union", "kind"), ARMS, ids=lambda v: v.__name__ if isinstance(v, type) else v.name)


def values(name: str) -> st.SearchStrategy[Any]:
    """Random messages of one struct."""
    node = STRUCTS[name].node.struct
    return st.builds(
        CLASSES[name], **{snake(str(f.name)): _value(STRUCTS[name], str(f.name), f.slot.type) for f in node.fields}
    )


def _value(owner: Any, name: str, kind: Any) -> st.SearchStrategy[Any]:
    which = str(kind.which())
    if which == "struct":
        return values(_name(owner.fields[name].schema))
    if which == "list":
        inner = kind.list.elementType
        if str(inner.which()) == "struct":
            return st.lists(values(_name(owner.fields[name].schema.elementType)), max_size=3)
        return st.lists(SCALARS[str(inner.which())], max_size=4)
    return SCALARS[which]


def _name(struct: Any) -> str:
    return str(struct.node.displayName[struct.node.displayNamePrefixLength :])


SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "uint16": st.integers(0, 2**16 - 1),
    "enum": st.integers(0, 2**16 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "float32": st.floats(width=32, allow_nan=False).map(lambda x: x + 0.0),  # no -0.0, which is written as 0.0
    "text": st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    "data": st.binary(max_size=40),
}
ZEROS = {"bool": False, "float32": 0.0, "text": "", "data": b""}


def default(name: str) -> Any:
    """The message with as few arguments as possible, the others zero."""
    arguments = {}
    for f, said in zip(fields(CLASSES[name]), STRUCTS[name].node.struct.fields, strict=True):
        if f.default is MISSING and f.default_factory is MISSING:
            which = str(said.slot.type.which())
            nested = STRUCTS[name].fields[str(said.name)].schema if which == "struct" else None
            arguments[f.name] = [] if which == "list" else default(_name(nested)) if nested else ZEROS.get(which, 0)
    return CLASSES[name](**arguments)
