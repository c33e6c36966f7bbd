"""Who does not know the secret is never let in, and lets nobody in, whatever was heard before and whatever is said.

``python -m tests.wire.test_handshake_attacks 100000`` makes so many attempts and counts those that succeed.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from scaler.messages import Challenge, Hello, Message, Proof, Role, Welcome
from scaler.wire.handshake import MAGIC, METHOD, PROTOCOL_VERSION, Dialer, Listener, handshake_codec

SECRET = b"the secret of the cluster"
ROLES = {Role.client, Role.worker, Role.manager}


class Attacker:
    """Hears every handshake of others, and may say anything; he knows no secret."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.heard: list[Message] = []

    def nonce(self) -> bytes:
        return self.random.randbytes(32)

    def dialer(self, secret: bytes = SECRET, role: Role | None = None) -> Dialer:
        role = role or self.random.choice(sorted(ROLES))
        return Dialer(role, self.random.randbytes(16), "somebody", secret, self.nonce())

    def listener(self, secret: bytes = SECRET) -> Listener:
        return Listener(ROLES, self.random.randbytes(16), secret, self.nonce())

    def listen_in(self) -> None:
        """Two who know the secret shake hands."""
        dials, listens = self.dialer(), self.listener()
        said: list[Message] = [dials.hello]
        while said:
            self.heard += said
            answers = [answer for message in said for answer in listens.receive(travelled(message))]
            self.heard += answers
            said = [answer for message in answers for answer in dials.receive(travelled(message))]
        assert dials.peer is not None and listens.peer is not None

    def told(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.heard if type(message) is kind]

    def mac(self) -> bytes:
        """One that was heard, perhaps damaged, or none."""
        macs = [message.mac for message in self.heard if isinstance(message, Proof | Welcome)]
        mac = bytearray(self.random.choice([*macs, b"", self.nonce()]))
        if mac and self.random.random() < 0.3:
            mac[self.random.randrange(len(mac))] ^= 1 << self.random.randrange(8)
        return bytes(mac)


def travelled(message: Message) -> Message:
    codec = handshake_codec()
    return codec.decode(codec.encode(message))


def wrong_secret(attacker: Attacker) -> bool:
    """Another secret, one bit of it, a part of it, or none."""
    bad = bytearray(SECRET)
    bad[attacker.random.randrange(len(bad))] ^= 1 << attacker.random.randrange(8)
    secret = attacker.random.choice([bytes(bad), SECRET[:-1], SECRET + b"x", b"", attacker.nonce()])
    dials, listens = attacker.dialer(secret), attacker.listener()
    for challenge in listens.receive(travelled(dials.hello)):
        for proof in dials.receive(challenge):
            listens.receive(proof)
    return listens.peer is not None or dials.peer is not None


def replayed_to_listener(attacker: Attacker) -> bool:
    """What a dialer said before, word for word or mended to fit."""
    listens = attacker.listener()
    hello = attacker.random.choice(attacker.told(Hello))
    assert isinstance(hello, Hello)
    if attacker.random.random() < 0.5:
        hello = replace(hello, role=attacker.random.choice(sorted(ROLES)), identity=attacker.random.randbytes(16))
    listens.receive(travelled(hello))
    listens.receive(travelled(Proof(attacker.mac())))
    return listens.peer is not None


def replayed_to_dialer(attacker: Attacker) -> bool:
    """What a listener said before, under its own nonce."""
    dials = attacker.dialer()
    challenge, welcome = (
        attacker.random.choice(attacker.told(Challenge)),
        attacker.random.choice(attacker.told(Welcome)),
    )
    dials.receive(travelled(challenge))
    dials.receive(travelled(welcome))
    return dials.peer is not None


def downgraded(attacker: Attacker) -> bool:
    """A listener that asks for nothing, or for another method, or proves nothing."""
    dials = attacker.dialer()
    if attacker.random.random() < 0.5:
        method = attacker.random.choice(["", "none", "plain", "hmac-sha1", METHOD, METHOD.upper()])
        dials.receive(travelled(Challenge(method, attacker.random.choice([b"", attacker.nonce()]))))
    dials.receive(travelled(Welcome(MAGIC, PROTOCOL_VERSION, attacker.random.randbytes(16), attacker.mac())))
    return dials.peer is not None


def without_proof(attacker: Attacker) -> bool:
    """A dialer that says all but the proof, in any order."""
    listens = attacker.listener()
    said = [
        attacker.dialer(b"").hello,
        Proof(attacker.mac()),
        Welcome(MAGIC, PROTOCOL_VERSION, b"x" * 16, attacker.mac()),
    ]
    said += attacker.random.sample(attacker.heard, min(3, len(attacker.heard)))
    attacker.random.shuffle(said)
    for message in said:
        listens.receive(travelled(message))
    return listens.peer is not None


def reflected(attacker: Attacker) -> bool:
    """What one said comes back to him: from a connection the other way round, or from a second one like it."""
    dials, listens = attacker.dialer(), attacker.listener()
    (challenge,) = listens.receive(travelled(dials.hello))
    if attacker.random.random() < 0.5:  # To the dialer, as if the listener had said it.
        (proof,) = dials.receive(challenge)
        assert isinstance(proof, Proof)
        dials.receive(Welcome(MAGIC, PROTOCOL_VERSION, attacker.random.randbytes(16), proof.mac))
        return dials.peer is not None
    other = attacker.dialer(role=Role.manager)  # Who dials us as a manager is to prove a client for us.
    (proof,) = other.receive(challenge)
    listens.receive(proof)
    return listens.peer is not None


def meddled(attacker: Attacker) -> bool:
    """Somebody between two who know the secret changes what the hello says."""
    dials, listens = attacker.dialer(role=Role.client), attacker.listener()
    changes = {
        "role": attacker.random.choice([Role.worker, Role.manager]),
        "identity": attacker.random.randbytes(16),
        "nonce": attacker.nonce(),
        "protocol_version": PROTOCOL_VERSION + attacker.random.randint(1, 9),
    }
    chosen = attacker.random.sample(sorted(changes), attacker.random.randint(1, len(changes)))
    for challenge in listens.receive(travelled(replace(dials.hello, **{name: changes[name] for name in chosen}))):  # type: ignore[arg-type]
        for proof in dials.receive(challenge):
            listens.receive(proof)
    return listens.peer is not None


def relayed(attacker: Attacker) -> bool:
    """Somebody between two who know the secret, with a TLS session to each, passes on word for word what they say."""
    dials, listens = attacker.dialer(), attacker.listener()
    mine, theirs = attacker.nonce(), attacker.nonce()
    dials.channel, listens.channel = attacker.random.choice([(mine, theirs), (b"", theirs), (mine, b"")])
    said: list[Message] = [dials.hello]
    while said:
        answers = [answer for message in said for answer in listens.receive(travelled(message))]
        said = [answer for message in answers for answer in dials.receive(travelled(message))]
    return listens.peer is not None or dials.peer is not None


ATTACKS = (
    wrong_secret,
    replayed_to_listener,
    replayed_to_dialer,
    downgraded,
    without_proof,
    reflected,
    meddled,
    relayed,
)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(1, 4))
def test_nobody_is_let_in_without_the_secret(seed: int, handshakes: int) -> None:
    attacker = Attacker(seed)
    for _ in range(handshakes):
        attacker.listen_in()
    assert [attack.__name__ for attack in ATTACKS if attack(attacker)] == []


def main(attempts: int) -> int:
    """Prints a line for each kind of attack; 1 if one of them succeeded."""
    made, accepted = Counter[str](), Counter[str]()
    attacker = Attacker(0)
    for n in range(attempts):
        if n % 1000 == 0:
            attacker = Attacker(n)
            for _ in range(4):
                attacker.listen_in()
        attack = ATTACKS[n % len(ATTACKS)]
        made[attack.__name__] += 1
        accepted[attack.__name__] += attack(attacker)
    for attack in ATTACKS:
        print(f"{attack.__name__:<22} {made[attack.__name__]:>8,} attempts {accepted[attack.__name__]:>3} accepted")
    print(f"{'all':<22} {made.total():>8,} attempts {accepted.total():>3} accepted")
    return 1 if accepted.total() else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
