from __future__ import annotations

from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scaler.errors import AddressError
from scaler.ids import Address, content_object_id, new_identity, task_id, u32, u64


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://127.0.0.1:8516", "127.0.0.1", 8516),
        ("tcp://some-host.example:0", "some-host.example", 0),
        ("  tcp://h:65535/ ", "h", 65535),
        ("tcp://[::1]:80", "::1", 80),
        ("tcp://[fe80::1%eth0]:80", "fe80::1%eth0", 80),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert address == Address(host, port)
    assert str(address) == text.strip().rstrip("/") and Address.parse(str(address)) == address
    assert address.with_port(5) == Address(host, 5)


@pytest.mark.parametrize(
    "text",
    ["", "tcp://", "host:80", "http://h:80", "tcp://h", "tcp://h:", "tcp://h:x", "tcp://::1:80", "tcp://[::1]", "tcp://h:-1",
     "tcp://:80", "tcp://a b:80", "tcp://h:80/x", "tcp://h:123456", "tcp://[]:80"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressError, match="is not an address; write it as tcp://host:port"):
        Address.parse(text)


def test_a_port_too_large() -> None:
    with pytest.raises(ValueError, match="port 65536 in 'tcp://h:65536' is greater than 65535"):
        Address.parse("tcp://h:65536")


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_an_address_error(text: str) -> None:
    try:
        assert Address.parse(text).port <= 65535
    except AddressError:
        pass


@given(st.integers(0, 2**24 - 1), st.integers(0, 2**40 - 1))
def test_task_ids(client: int, sequence: int) -> None:
    id = task_id(client, sequence)
    assert (id >> 40, id & (2**40 - 1)) == (client, sequence) and id < 2**64


def test_columns() -> None:
    assert u32(b"\1\0\0\0") == array("I", [1]) and u64(bytes(8)) == array("Q", [0])
    column = array("Q", [1])
    assert u64(column) is column
    for wrong in (lambda: u32(b"123"), lambda: u64(b"1234")):
        with pytest.raises(ValueError):
            wrong()


def test_identities_and_object_ids() -> None:
    assert len(new_identity()) == 16 and new_identity() != new_identity()
    assert content_object_id(b"a") == content_object_id(memoryview(b"a")) != content_object_id(b"b")
    assert len(content_object_id(b"")) == 16


def test_a_path_is_an_address() -> None:
    address = Address.parse(" ipc:///run/scaler/a b ")
    assert (address.path, str(address)) == ("/run/scaler/a b", "ipc:///run/scaler/a b")
    assert Address.parse(str(address)) == address == address.with_port(5)
    assert str(Address.parse("ipc://here").path) == str(Path("here").absolute())


@pytest.mark.parametrize(
    ("text", "why"), [("ipc://", "needs the path"), ("ipc:///" + "x" * 107, "longer than the 107")]
)
def test_what_is_no_path(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why):
        Address.parse(text)


def test_addresses_with_tls() -> None:
    where = Address.parse("tls://[::1]:8516")
    assert where.tls and where != Address.parse("tcp://[::1]:8516")
    assert str(where.with_port(7)) == "tls://[::1]:7" and str(where.of_monitor()) == "tls://[::1]:8518"


def test_where_a_scheduler_is_watched() -> None:
    assert str(Address.parse("tcp://[::1]:8516").of_monitor()) == "tcp://[::1]:8518"
    assert str(Address.parse("ipc:///run/scaler").of_monitor()) == "ipc:///run/scaler.monitor"
    with pytest.raises(AddressError, match="no port 65536"):
        Address.parse("tcp://h:65534").of_monitor()
