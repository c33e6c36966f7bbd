"""What a scheduler writes down, and how it goes on from that."""

from __future__ import annotations

from array import array
from typing import Any

from scaler.ids import u32, u64
from scaler.machine import Output
from scaler.messages import (
    Awaiting,
    ClientGoodbye,
    ClientHeartbeat,
    ClientSettings,
    Collected,
    DefineFunctions,
    Function,
    JournalClient,
    JournalGone,
    JournalOver,
    JournalRecord,
    JournalResults,
    JournalSubmit,
    Recover,
    Recovered,
    RecoveredClient,
    ReleaseOwner,
    Restore,
    ResultStatus,
    Role,
    RunningInside,
    SubmitArray,
    TaskOptions,
)
from scaler.scheduler.journal import REPEAT_RECORDS, Append
from scaler.scheduler.journal_digest import Digest
from scaler.scheduler.journal_format import journal_codec

from .builders import ANN, BEN, OK, Client, Rig, Worker, closed, of, q, results, tasks

HEIR = b"H" * 16
LOST = ResultStatus.lost


class Journaled(Rig):
    """A scheduler with a journal, which it hands on to the next one."""

    def __init__(self, before: Journaled | None = None, **settings: Any) -> None:
        super().__init__(journal=True, **settings)
        self.written: list[bytes] = []
        if before is not None:
            self.now = before.now
            self.state.restore(before.read(), self.now)
            self.written = [journal_codec().encode(record) for record in before.read()]

    def after(self) -> list[Output]:
        outputs = super().after()
        for output in outputs:
            if isinstance(output, Append):
                self.written += map(journal_codec().encode, output.records)
        return outputs

    def all_records(self) -> list[JournalRecord]:
        decode = journal_codec().decode
        return [decode(record) for record in self.written]

    def read(self) -> list[JournalRecord]:
        """What the next one finds."""
        return list(Digest(self.all_records, at_start=True).records())

    def named(self, name: str = "nightly", identity: bytes = ANN) -> Client:
        peer, outputs = self.connect(Role.client, identity, name)
        (settings,) = of(outputs, ClientSettings, peer)
        assert settings.kept_seconds
        self.say(peer, DefineFunctions([Function(0, "cloudpickle", b"content", b"", "f")]))
        return Client(self, peer, settings.client_number)

    def later(self) -> list[Output]:
        """When nobody is waited for any more."""
        return self.at(self.now + 2 * self.state.settings.resume_seconds)

    def left(self, name: str = "nightly", identity: bytes = HEIR) -> tuple[Client, list[RecoveredClient]]:
        """Somebody who asks what is left."""
        peer, _ = self.connect(Role.client, identity, name)
        (answer,) = of(self.say(peer, Recover()), Recovered, peer)
        assert not answer.more
        return Client(self, peer, 0), answer.clients


def test_only_a_scheduler_with_a_journal_writes_and_says_that_it_keeps() -> None:
    rig = Rig()
    peer, outputs = rig.connect(Role.client, ANN, "nightly")
    (settings,) = of(outputs, ClientSettings, peer)
    assert settings.kept_seconds == 0
    assert not [output for output in rig.client(BEN).submit(0) if isinstance(output, Append)]


def test_tasks_go_on_without_their_client() -> None:
    rig = Journaled()
    rig.named().submit(0, 1, 2)
    rig = Journaled(rig)
    worker = rig.worker(slots=4)
    assert tasks(rig.later(), worker.peer) != []
    assert rig.state.task_counts().assigned == 3


def test_results_are_kept_until_they_are_collected() -> None:
    rig = Journaled()
    ann, worker = rig.named(), rig.worker(slots=4)
    ann.submit(0, 1, 2)
    assert results(worker.ends((ann.id(0), 1), (ann.id(1), 1))) == [(0, OK, b"result"), (1, OK, b"result")]
    ann.say(Collected(q(0)))
    rig = Journaled(rig)
    rig.later()
    _, (left,) = rig.left()
    assert (left.identity, list(u64(left.sequences)), left.next_sequence) == (ANN, [1, 2], 3)
    heir = rig.named(identity=ANN)
    assert results(heir.say(Awaiting(q(1, 2)))) == [(1, OK, b"result")]
    worker = rig.worker(slots=4)
    assert results(worker.ends((heir.id(2), 1))) == [(2, OK, b"result")]


def test_what_is_not_known_is_told_as_lost() -> None:
    rig = Journaled()
    outputs = rig.named().say(Awaiting(q(7)))
    ((sequence, status, text),) = results(outputs)
    assert (sequence, status) == (7, LOST)
    assert b"does not know this task" in text


def test_what_one_asker_was_told_is_not_told_to_another() -> None:
    rig = Journaled(client_timeout_seconds=60.0)
    ann = rig.named()
    ann.submit(0)
    rig.lose(ann.peer)
    assert len(rig.left()[1]) == 1
    assert rig.left(identity=b"I" * 16)[1] == []
    assert rig.left(name="weekly", identity=b"J" * 16)[1] == []
    rig.now += 61
    assert len(rig.left(identity=b"K" * 16)[1]) == 1


def test_an_asker_waits_until_the_journal_is_entered() -> None:
    rig = Journaled()
    rig.named().submit(0)
    rig = Journaled(rig)
    peer, _ = rig.connect(Role.client, HEIR, "nightly")
    assert of(rig.say(peer, Recover()), Recovered) == []
    (answer,) = of(rig.later(), Recovered, peer)
    assert list(u64(answer.clients[0].sequences)) == [0]


def test_a_client_without_a_name_cannot_ask() -> None:
    rig = Journaled()
    peer, _ = rig.connect(Role.client, ANN, "")
    assert closed(rig.say(peer, Recover())) == [peer]


def test_names_and_serializers_are_told() -> None:
    rig = Journaled()
    ann, worker = rig.named(), rig.worker(slots=9)
    ann.say(DefineFunctions([Function(1, "msgpack", b"math:sqrt", b"", "sqrt")]))
    ann.submit(0, options=TaskOptions(name="first"))
    ann.submit(1, function=1)
    ann.submit(2)
    worker.ends((ann.id(0), 1), (ann.id(1), 1))
    for _ in range(2):  # what is written anew says the same
        rig = Journaled(rig)
        rig.later()
        _, (left,) = rig.left()
        assert (left.names, left.serializers) == (["first", "", ""], ["", "msgpack", ""])


def test_items_are_kept_and_go_on() -> None:
    rig = Journaled()
    ann, worker = rig.named(), rig.worker(slots=1)
    outputs = ann.say(SubmitArray(10, 0, b"abcd", array("I", [1, 2, 3, 4])))
    (first, *_) = tasks(outputs)
    worker.ends(first)
    rig = Journaled(rig)
    rig.later()
    _, (left,) = rig.left()
    assert list(zip(u64(left.sequences), u32(left.counts), strict=True)) == [(10, 1), (11, 3)]
    heir = rig.named(identity=ANN)
    assert results(heir.say(Awaiting(q(10, 11, 12, 13)))) == [(10, OK, b"result")]


def test_a_graph_does_not_begin_anew() -> None:
    rig = Journaled()
    ann, worker = rig.named(), rig.worker(slots=1)
    ann.submit(0, 1, 2, needs={1: [0], 2: [1]}, unwanted=[0, 1])
    worker.ends((ann.id(0), 1))
    rig = Journaled(rig)
    rig.later()
    worker = rig.worker(slots=1)
    assert tasks(worker.outputs) == [(ann.id(1), 1)]
    assert rig.state.task_counts().succeeded == 0
    outputs = worker.ends((ann.id(1), 1))
    assert tasks(outputs) == [(ann.id(2), 1)]


def test_a_graph_of_which_the_last_part_is_missing_was_not_accepted() -> None:
    rig = Journaled()
    ann = rig.named()
    ann.submit(0, 1, more=True)
    rig = Journaled(rig)
    rig.later()
    assert len(rig.state.board) == 0
    ann = rig.named()
    ann.submit(2, 3, more=True)
    ann.submit(4, needs={4: [2]})
    rig = Journaled(rig)
    rig.later()
    assert rig.state.task_counts().ready == 2


def test_it_takes_no_room_from_others_and_is_not_refused() -> None:
    rig = Journaled(max_waiting_tasks=5)
    ann, worker = rig.named(), rig.worker(slots=4, queue=100)
    ann.submit(*range(5))
    ann.submit(*range(5, 10))
    rig.lose(worker.peer)
    rig = Journaled(rig, max_waiting_tasks=5)
    rig.later()
    assert rig.state.task_counts().ready == 10


def test_a_client_that_lives_goes_on_and_hears_what_it_has_not_heard() -> None:
    rig = Journaled()
    ann, worker = rig.named(), rig.worker(slots=4)
    ann.submit(0, 1)
    worker.ends((ann.id(0), 1))
    rig = Journaled(rig)
    peer, _ = rig.connect(Role.client, ANN, "nightly")
    client = Client(rig, peer, ann.number)
    client.say(DefineFunctions([Function(0, "cloudpickle", b"content", b"", "f")]))
    outputs = client.submit(0, 1) + rig.later()
    assert results(outputs) == [(0, OK, b"result")]
    assert len(rig.state.board) == 1
    client.say(ClientHeartbeat(1))
    client.submit(2)
    assert len(rig.state.board) == 2


def test_goodbye_ends_it_and_is_remembered() -> None:
    rig = Journaled()
    storage, _ = rig.connect(Role.storage_user, b"S" * 16)
    ann = rig.named()
    ann.submit(0)
    assert of(ann.say(ClientGoodbye()), ReleaseOwner, storage) == [ReleaseOwner(ANN)]
    assert isinstance(rig.all_records()[-1], JournalGone)
    assert rig.read() == []


def test_named_clients_are_kept_for_longer_than_others() -> None:
    rig = Journaled(client_timeout_seconds=10.0, kept_seconds=1000.0)
    storage, _ = rig.connect(Role.storage_user, b"S" * 16)
    ann, ben = rig.named(), rig.client(BEN)
    anonymous, _ = rig.connect(Role.client, b"N" * 16, "")
    rig.say(anonymous, DefineFunctions([Function(0, "s", b"", b"", "f")]))
    Client(rig, anonymous, 0).submit(0)
    ann.submit(0)
    for peer in (ann.peer, ben.peer, anonymous):
        rig.lose(peer)
    gone = of(rig.until(rig.now + 11), ReleaseOwner, storage)
    assert gone == [ReleaseOwner(BEN), ReleaseOwner(b"N" * 16)]  # Ben has a name, and nothing to come back for
    assert of(rig.until(rig.now + 1000), ReleaseOwner, storage) == [ReleaseOwner(ANN)]


def test_a_named_client_that_is_silent_has_left_something_behind() -> None:
    rig = Journaled(client_timeout_seconds=10.0)
    ann = rig.named()
    ann.submit(0)
    assert closed(rig.until(rig.now + 11)) == [ann.peer]
    assert len(rig.left()[1]) == 1


def test_objects_of_a_client_that_is_gone_are_waited_for_until_somebody_comes() -> None:
    rig = Journaled()
    ann, worker = rig.named(), rig.worker()
    ann.submit(0)
    rig.lose(ann.peer)
    lost = b"\xff\xff\xff\xff" + b"O" * 16
    worker.ends((ann.id(0), 1), status=ResultStatus.object_lost, payload=lost)
    peer, outputs = rig.connect(Role.client, ANN, "nightly")
    assert {restore.objects for restore in of(outputs, Restore, peer)} == {b"O" * 16}


def test_clients_inside_tasks_are_not_written_down() -> None:
    rig = Journaled()
    ann, worker = rig.named(), rig.worker(slots=2, identity=b"W" * 16)
    ((id, _),) = tasks(ann.submit(0))
    before = len(rig.written)
    inner = rig.client(BEN)
    inner.say(RunningInside(id, 0, b"W" * 16))
    inner.submit(0)
    assert len(rig.written) == before
    assert worker.peer


def test_without_a_name_results_are_not_written_down_but_for_dependents() -> None:
    rig = Journaled()
    peer, _ = rig.connect(Role.client, ANN, "")
    rig.say(peer, DefineFunctions([Function(0, "s", b"", b"", "f")]))
    client = Client(rig, peer, int.from_bytes(ANN[:3], "little") + 1)
    worker = Worker(rig, rig.worker(slots=4).peer, [])
    client.submit(0)
    worker.ends((client.id(0), 1))
    assert isinstance(rig.all_records()[-1], JournalOver)
    client.submit(1, 2, needs={2: [1]})
    worker.ends((client.id(1), 1))
    assert isinstance(rig.all_records()[-1], JournalResults)


def test_it_is_said_again_who_a_client_is() -> None:
    rig = Journaled()
    ann = rig.named()
    for sequence in range(2 * REPEAT_RECORDS):
        ann.submit(sequence)
    heads = [record for record in rig.all_records() if isinstance(record, JournalClient)]
    assert len(heads) == 3
    lost_head = rig.all_records()[1:]
    kept = [record for record in Digest(lambda: lost_head).records() if isinstance(record, JournalSubmit)]
    assert len(kept) == 2 * REPEAT_RECORDS


def test_after_it_was_rewritten_functions_are_said_again() -> None:
    rig = Journaled()
    ann = rig.named()
    ann.submit(0)
    rig.written.clear()
    rig.state.journal.rewritten()
    ann.submit(1)
    rig = Journaled(rig)
    rig.later()
    assert rig.state.task_counts().ready == 1


def test_where_nothing_matters_who_the_clients_are_is_all() -> None:
    rig = Journaled()
    ann, worker = rig.named(), rig.worker()
    ann.submit(0)
    sessions = rig.state.clients.sessions.values()
    assert rig.state.journal.heads(sessions) is None
    worker.ends((ann.id(0), 1))
    assert rig.state.journal.heads(sessions) is None
    ann.say(Collected(q(0)))
    assert [head.identity for head in rig.state.journal.heads(sessions) or [] if isinstance(head, JournalClient)] == [
        ANN
    ]


def test_a_number_that_another_client_has_is_of_nobody_before() -> None:
    rig = Journaled()
    rig.named().submit(0)
    lost_end = rig.all_records()
    for record in (JournalClient(lost_end[0].client, BEN, "weekly"), JournalClient(7, ANN, "nightly")):
        found = list(Digest(lambda record=record: [*lost_end, record]).records())  # type: ignore[misc]
        assert found == [record]
