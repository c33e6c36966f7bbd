"""Dialer and Listener joined, without a socket."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from scaler.errors import ProtocolError, RefusedError
from scaler.machine import Peer
from scaler.messages import Challenge, ClearTasks, Hello, Message, Proof, RefusalReason, Refused, Role, Welcome
from scaler.wire.handshake import MAGIC, OLDEST_VERSION, PROTOCOL_VERSION, Dialer, Listener, handshake_codec

ANN, BEN = b"A" * 16, b"B" * 16
N, M = b"n" * 32, b"m" * 32


def dialer(role: Role = Role.worker, secret: bytes = b"", identity: bytes = ANN, name: str = "ann") -> Dialer:
    return Dialer(role, identity, name, secret, N)


def listener(secret: bytes = b"", *roles: Role) -> Listener:
    return Listener(roles or (Role.worker, Role.client), BEN, secret, M)


def join(dials: Dialer, listens: Listener, hello: Hello | None = None) -> list[Message]:
    """Let both talk until nobody has an answer; returns all that was said after hello, through the codec."""
    said: list[Message] = []
    codec = handshake_codec()
    to_listener: list[Message] = [hello or dials.hello]
    while to_listener:
        answers = [a for m in to_listener for a in listens.receive(codec.decode(codec.encode(m)))]
        to_listener = [a for m in answers for a in dials.receive(codec.decode(codec.encode(m)))]
        said += answers + to_listener
    return said


def refusal(listens: Listener, message: Message) -> Refused:
    (answer,) = listens.receive(message)
    assert isinstance(answer, Refused)
    assert listens.peer is None
    assert str(listens.error) == answer.text != ""
    return answer


def test_let_in_without_a_secret() -> None:
    dials, listens = dialer(), listener()
    assert join(dials, listens) == [Welcome(MAGIC, PROTOCOL_VERSION, BEN, b"")]
    assert listens.peer == Peer(Role.worker, ANN, "ann", PROTOCOL_VERSION)
    assert dials.peer == Peer(Role.worker, BEN, "", PROTOCOL_VERSION)
    assert dials.error is None and listens.error is None


def test_let_in_with_the_same_secret() -> None:
    dials, listens = dialer(secret=b"open"), listener(b"open")
    assert [type(message) for message in join(dials, listens)] == [Challenge, Proof, Welcome]
    assert listens.peer == Peer(Role.worker, ANN, "ann", PROTOCOL_VERSION)
    assert dials.peer == Peer(Role.worker, BEN, "", PROTOCOL_VERSION)


def test_another_secret_is_refused() -> None:
    dials, listens = dialer(secret=b"shut"), listener(b"open")
    refused = join(dials, listens)[-1]
    assert isinstance(refused, Refused) and refused.reason == RefusalReason.authentication
    assert isinstance(dials.error, RefusedError) and "not proved" in str(dials.error)
    assert dials.peer is None and listens.peer is None and listens.error is not None


def test_no_secret_where_one_is_asked_for() -> None:
    dials, listens = dialer(), listener(b"open")
    assert join(dials, listens) == [Challenge("hmac-sha256", M)]
    assert isinstance(dials.error, RefusedError) and "none is configured" in str(dials.error)
    assert listens.peer is None


def test_a_listener_that_asks_for_no_secret_is_not_trusted() -> None:
    dials, listens = dialer(secret=b"open"), listener()
    join(dials, listens)
    assert isinstance(dials.error, RefusedError) and "asks for no secret" in str(dials.error)
    assert dials.peer is None


def test_a_listener_with_a_wrong_proof_is_not_trusted() -> None:
    dials = dialer(secret=b"open")
    assert len(dials.receive(Challenge("hmac-sha256", M))) == 1
    assert dials.receive(Welcome(MAGIC, PROTOCOL_VERSION, BEN, b"m" * 32)) == []
    assert isinstance(dials.error, RefusedError) and dials.peer is None


def test_the_dialers_own_proof_does_not_prove_the_listener() -> None:
    dials = dialer(secret=b"open")
    (proof,) = dials.receive(Challenge("hmac-sha256", M))
    assert isinstance(proof, Proof)
    dials.receive(Welcome(MAGIC, PROTOCOL_VERSION, BEN, proof.mac))
    assert dials.peer is None


@pytest.mark.parametrize(
    "change", [{"identity": BEN}, {"role": Role.client}, {"nonce": M}, {"protocol_version": 7}, {"oldest_version": 0}]
)
def test_a_proof_is_bound_to_what_hello_said(change: dict[str, object]) -> None:
    dials, listens = dialer(secret=b"open"), listener(b"open")
    (challenge,) = listens.receive(replace(dials.hello, **change))  # type: ignore[arg-type]
    (proof,) = dials.receive(challenge)
    assert refusal(listens, proof).reason == RefusalReason.authentication


@pytest.mark.parametrize("nonce", [b"", b"m" * 31, b"m" * 33])
def test_a_challenge_has_a_whole_nonce_and_comes_once(nonce: bytes) -> None:
    dials = dialer(secret=b"open")
    assert dials.receive(Challenge("hmac-sha256", nonce)) == []
    assert dials.error is not None
    asked_twice = dialer(secret=b"open")
    assert len(asked_twice.receive(Challenge("hmac-sha256", M))) == 1
    assert asked_twice.receive(Challenge("hmac-sha256", N)) == []
    assert asked_twice.error is not None


def test_who_is_refused_does_not_prove_again() -> None:
    dials, listens = dialer(secret=b"open"), listener(b"open")
    (challenge,) = listens.receive(dials.hello)
    (proof,) = dials.receive(challenge)
    refusal(listens, Proof(b"x" * 32))
    refusal(listens, proof)


def test_a_welcome_is_bound_to_version_and_identity() -> None:
    for change in ({"identity": ANN}, {"protocol_version": OLDEST_VERSION - 1}):
        dials, listens = dialer(secret=b"open"), listener(b"open")
        (challenge,) = listens.receive(dials.hello)
        (proof,) = dials.receive(challenge)
        (welcome,) = listens.receive(proof)
        assert isinstance(welcome, Welcome)
        dials.receive(replace(welcome, **change))  # type: ignore[arg-type]
        assert dials.peer is None and dials.error is not None


def test_a_proof_is_bound_to_the_channel() -> None:
    """Somebody between the two, with a certificate of his own, passes on what both say."""
    dials, listens = dialer(secret=b"open"), listener(b"open")
    dials.channel, listens.channel = b"1" * 32, b"2" * 32
    join(dials, listens)
    assert dials.peer is None and listens.peer is None
    dials, listens = dialer(secret=b"open"), listener(b"open")
    dials.channel = listens.channel = b"1" * 32
    join(dials, listens)
    assert dials.peer is not None and listens.peer is not None


def test_an_unknown_method_ends_the_dialer() -> None:
    dials = dialer(secret=b"open")
    assert dials.receive(Challenge("rot13", M)) == []
    assert "rot13" in str(dials.error)


def test_a_proof_that_nobody_asked_for() -> None:
    assert refusal(listener(b"open"), Proof(b"x")).reason == RefusalReason.not_scaler
    without = listener()
    without._hello = dialer().hello
    assert refusal(without, Proof(b"x")).reason == RefusalReason.authentication


def test_wrong_magic_is_refused_by_both() -> None:
    assert refusal(listener(), replace(dialer().hello, magic=MAGIC + 1)).reason == RefusalReason.not_scaler
    dials = dialer()
    dials.receive(Welcome(MAGIC + 1, PROTOCOL_VERSION, BEN))
    assert dials.peer is None and "magic" in str(dials.error)


@pytest.mark.parametrize(
    ("newest", "oldest", "agreed"),
    [
        (PROTOCOL_VERSION, PROTOCOL_VERSION, PROTOCOL_VERSION),
        (PROTOCOL_VERSION + 5, PROTOCOL_VERSION, PROTOCOL_VERSION),
        (PROTOCOL_VERSION + 5, PROTOCOL_VERSION + 1, None),
        (OLDEST_VERSION - 1, 0, None),
    ],
)
def test_versions(newest: int, oldest: int, agreed: int | None) -> None:
    hello = replace(dialer().hello, protocol_version=newest, oldest_version=oldest)
    listens = listener()
    if agreed is None:
        refused = refusal(listens, hello)
        assert refused.reason == RefusalReason.version and f"{oldest} to {newest}" in refused.text
    else:
        assert listens.receive(hello) == [Welcome(MAGIC, agreed, BEN)]


@pytest.mark.parametrize("picked", [OLDEST_VERSION - 1, PROTOCOL_VERSION + 1])
def test_a_version_that_was_not_offered_is_not_taken(picked: int) -> None:
    dials = dialer()
    dials.receive(Welcome(MAGIC, picked, BEN))
    assert dials.peer is None and str(picked) in str(dials.error)


@pytest.mark.parametrize("role", [Role.monitor, Role.unspecified, 77])
def test_a_role_that_is_not_served(role: int) -> None:
    refused = refusal(listener(), replace(dialer().hello, role=role))
    assert refused.reason == RefusalReason.role and "client, worker" in refused.text


@pytest.mark.parametrize(
    "change", [{"identity": b""}, {"identity": b"x" * 15}, {"identity": b"x" * 17}, {"name": "é" * 129}]
)
def test_a_bad_identity_or_name(change: dict[str, object]) -> None:
    hello = replace(dialer().hello, **change)  # type: ignore[arg-type]
    assert refusal(listener(), hello).reason == RefusalReason.not_scaler


def test_a_second_hello_is_refused() -> None:
    dials, listens = dialer(), listener(b"open")
    listens.receive(dials.hello)
    assert refusal(listens, dials.hello).reason == RefusalReason.not_scaler


def test_what_is_no_handshake_is_refused() -> None:
    assert refusal(listener(), ClearTasks()).reason == RefusalReason.not_scaler
    dials = dialer()
    assert dials.receive(dials.hello) == []
    assert type(dials.error) is ProtocolError
    listens = listener()
    (refused,) = listens.refuse_unreadable()
    assert isinstance(refused, Refused) and refused.reason == RefusalReason.not_scaler and listens.error is not None


def test_a_refusal_comes_as_it_was_said() -> None:
    dials = dialer()
    dials.receive(Refused(RefusalReason.full, "come back later"))
    assert isinstance(dials.error, RefusedError) and str(dials.error) == "come back later"
    dials.receive(Refused(RefusalReason.full, ""))
    assert "without a reason" in str(dials.error)


def test_software_is_told_and_bounded() -> None:
    listens = listener()
    listens.receive(replace(dialer().hello, software="python=3.11.7"))
    assert listens.peer is not None and listens.peer.software == "python=3.11.7"
    assert refusal(listener(), replace(dialer().hello, software="x" * 257)).reason == RefusalReason.not_scaler


def test_the_proofs_that_the_protocols_readme_tells() -> None:
    dials = Dialer(Role.client, ANN, "", b"0123456789abcdef", N)
    listens = Listener({Role.client}, BEN, b"0123456789abcdef", M)
    _, proof, welcome = join(dials, listens)
    assert isinstance(proof, Proof) and isinstance(welcome, Welcome)
    readme = (Path(__file__).parents[2] / "protocol" / "README.md").read_text()
    assert f"| `Proof.mac` | `{proof.mac.hex()}` |" in readme
    assert f"| `Welcome.mac` | `{welcome.mac.hex()}` |" in readme


def test_a_name_begins_no_line_and_moves_no_cursor() -> None:
    listener = Listener({Role.client}, b"l" * 16)
    listener.receive(Dialer(Role.client, b"d" * 16, "änn\n[INFO] all is well\x1b[2J").hello)
    assert listener.peer is not None and listener.peer.name == "änn?[INFO] all is well?[2J"
