"""Graphs on real processes: failures, cancellation, and that nothing is left."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import CancelledError, wait
from pathlib import Path
from typing import Any

import pytest

from scaler import Client, MissingKeyError
from scaler.ids import Address, new_identity
from scaler.storage.client import StorageClient

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with Client(n_workers=2, timeout_seconds=20) as client:
        yield client


def fail(value: Any) -> None:
    raise LookupError(f"no {value}")


def wait_for(path: str, value: Any = None) -> Any:
    """Until there is a file."""
    while not Path(path).exists():
        time.sleep(0.005)
    return value


def stored_bytes(client: Client) -> int:
    """What the object storage holds."""
    settings = client._service.settings
    assert settings is not None
    storage = StorageClient(Address.parse(settings.object_storage_address), new_identity(), "test")
    try:
        return storage.statistics().bytes
    finally:
        storage.close()


def settled(client: Client, expected: int, seconds: float = 20) -> bool:
    """Whether the object storage comes to hold this: the last releases are still on their way when results are there."""
    end = time.monotonic() + seconds
    while stored_bytes(client) != expected and time.monotonic() < end:
        client.submit(abs, 1).result()
    return stored_bytes(client) == expected


def test_a_failure_fails_its_dependents_only(client: Client) -> None:
    graph = {"bad": (fail, "luck"), "next": (abs, "bad"), "last": (max, "next", 1), "good": (abs, -1)}
    found = client.get(graph, ["last", "good", "bad"], block=False)
    assert found["good"].result() == 1
    for key in ("last", "bad"):
        error = found[key].exception()
        assert type(error) is LookupError and str(error) == "no luck"
        assert "in fail" in "".join(traceback.format_exception(error))
    with pytest.raises(LookupError, match="no luck"):
        client.get(graph, ["good", "last"])
    assert client.get(graph, ["good"]) == {"good": 1}


def test_cancelling_reaches_what_depends_and_what_only_it_needs(client: Client, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    graph = {"gate": (wait_for, gate, 5), "middle": (abs, "gate"), "end": (abs, "middle"), "good": (abs, "gate")}
    found = client.get(graph, ["middle", "end", "good"], block=False)
    assert found["middle"].cancel()
    with pytest.raises(CancelledError):
        found["end"].result(20)
    Path(gate).touch()
    assert found["good"].result(20) == 5


def test_a_running_task_of_a_graph_that_is_cancelled_leaves_its_slot(client: Client, tmp_path: Path) -> None:
    never = str(tmp_path / "never")
    graph = {f"slow{n}": (wait_for, never, n) for n in range(4)} | {"end": (sum, ["slow0", "slow1", "slow2", "slow3"])}
    client.get(graph, ["end"], block=False)["end"].cancel()
    assert client.get({"a": (abs, -1)}, ["a"]) == {"a": 1}


def test_blocking_interrupted_by_a_failure_cancels_the_rest(client: Client, tmp_path: Path) -> None:
    never = str(tmp_path / "never")
    with pytest.raises(LookupError):
        client.get({"bad": (fail, 1), "slow": (wait_for, never)}, ["slow", "bad"])
    assert client.get({n: (abs, -n - 1) for n in range(4)}, range(4)) == {n: n + 1 for n in range(4)}


def test_nothing_is_left(client: Client) -> None:
    before = stored_bytes(client)
    large = b"x" * 300_000
    graph: dict[Any, Any] = {"large": large, "inline": (len, large)}
    graph |= {("copy", n): (bytes.__add__, "large", b"y" * n) for n in range(4)}
    graph |= {"sizes": [(len, ("copy", n)) for n in range(4)], "bad": (fail, ("copy", 0))}
    assert client.get(graph, ["sizes", "inline"]) == {"sizes": [300_000 + n for n in range(4)], "inline": 300_000}
    wait(list(client.get(graph, ["sizes", "bad"], block=False).values()))
    found = client.get(graph, [("copy", 1), "sizes"], block=False)
    assert len(found["copy", 1].result()) == 300_001
    assert found["sizes"].result()[0] == 300_000
    del found
    with pytest.raises(MissingKeyError):
        client.get(graph, ["sizes", "unknown"])
    with pytest.raises(TypeError, match=r"the arguments of len at 'lock'"):
        client.get(graph | {"lock": (len, [threading.Lock(), "large"])}, ["lock"])
    assert settled(client, before)


def test_a_large_constant_is_stored_once(client: Client) -> None:
    large = bytearray(2_000_000)
    graph: dict[Any, Any] = {"large": large} | dict.fromkeys(range(50), (bytearray.__len__, "large"))
    found = client.get(graph | {"end": (sum, list(range(50)))}, ["end", "large"])
    assert found["end"] == 100_000_000 and found["large"] is large


def test_keys_of_any_kind(client: Client) -> None:
    graph = {None: 1, frozenset({1}): (abs, None), (1, (2, "x")): (max, frozenset({1}), -5), b"b": (None,)}
    with pytest.raises(ValueError, match="begins with a key"):
        client.get(graph, [b"b"])
    keys = [(1, (2, "x")), None, frozenset({1}), None]
    assert list(client.get(graph, keys).items()) == [((1, (2, "x")), 1), (None, 1), (frozenset({1}), 1)]


def test_a_graph_in_many_messages(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts arrive one by one; nothing may be done and forgotten before what depends on it is there."""
    monkeypatch.setattr("scaler.client.state.MESSAGE_TASKS", 10)
    graph: dict[Any, Any] = {n: (int, n + 1000) for n in range(1000)} | {"end": (sum, list(range(0, 1000, 3)))}
    graph |= {("sum", n): (sum, list(range(n, n + 10))) for n in range(0, 1000, 10)}
    graph |= {"all": (sum, [("sum", n) for n in range(0, 1000, 10)])}
    assert client.get(graph, ["end", "all"]) == {"end": sum(range(1000, 2000, 3)), "all": sum(range(1000, 2000))}
