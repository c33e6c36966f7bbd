"""Tasks go where their inputs are, as far as that keeps no slot idle."""

from __future__ import annotations

from scaler.messages import Cancel, RegisterWorker, ResultStatus, Role

from .builders import Client, Rig, Worker, q, tasks

MEGABYTE = 1 << 20


class Hosts:
    """Two workers of one slot on hosts that have object storages of their own, and one on the scheduler's."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.ann = self.rig.client()
        self.here, self.there = self.worker("tcp://10.0.0.1:1"), self.worker("tcp://10.0.0.2:1")

    def worker(self, storage: str, slots: int = 1) -> Worker:
        peer, outputs = self.rig.connect(Role.worker, bytes([len(self.rig.state.board.loads) + 1]) * 16)
        outputs += self.rig.say(peer, RegisterWorker(slots, 1000, object_storage_address=storage))
        return Worker(self.rig, peer, outputs)


def store(worker: Worker, ann: Client, sequence: int, size: int = MEGABYTE) -> list[object]:
    payload = bytes([sequence]) * 16 + size.to_bytes(8, "little")
    return worker.ends((ann.id(sequence), 1), status=ResultStatus.stored, payload=payload, wall=1_000_000)


def test_a_chain_stays_on_its_host() -> None:
    hosts = Hosts()
    ann = hosts.ann
    outputs = ann.submit(1, 2, 3, 4, needs={3: [2], 4: [3]}, unwanted=[2, 3])
    assert tasks(outputs, hosts.here.peer) == [(ann.id(1), 1)] and tasks(outputs, hosts.there.peer) == [(ann.id(2), 1)]
    hosts.here.ends((ann.id(1), 1))
    outputs = store(hosts.there, ann, 2)
    assert tasks(outputs, hosts.there.peer) == [(ann.id(3), 1)], "both are idle, here for longer"
    assert tasks(store(hosts.there, ann, 3), hosts.there.peer) == [(ann.id(4), 1)]


def test_the_larger_input_decides() -> None:
    hosts = Hosts()
    ann = hosts.ann
    ann.submit(1, 2, 3, needs={3: [1, 2]}, unwanted=[1, 2])
    store(hosts.here, ann, 1, 10 * MEGABYTE)
    assert tasks(store(hosts.there, ann, 2), hosts.here.peer) == [(ann.id(3), 1)]


def test_no_slot_stays_idle_for_it() -> None:
    hosts = Hosts()
    ann = hosts.ann
    ann.submit(1, 2, 3, 4, needs={3: [1], 4: [1]}, unwanted=[1])
    hosts.there.ends((ann.id(2), 1))
    outputs = store(hosts.here, ann, 1)
    assert tasks(outputs, hosts.here.peer) == [(ann.id(3), 1)]
    assert tasks(outputs, hosts.there.peer) == [(ann.id(4), 1)]


def test_where_it_was_taken_it_is_too_and_a_host_that_is_gone_has_nothing() -> None:
    hosts = Hosts()
    ann = hosts.ann
    ann.submit(1, 9, 2, 3, needs={2: [1], 3: [1]}, unwanted=[1])
    hosts.there.ends((ann.id(9), 1))
    outputs = store(hosts.here, ann, 1)
    assert tasks(outputs, hosts.here.peer) == [(ann.id(2), 1)] and tasks(outputs, hosts.there.peer) == [(ann.id(3), 1)]
    newcomer = hosts.worker("tcp://10.0.0.3:1", slots=2)
    hosts.there.ends((ann.id(3), 1))
    outputs = hosts.rig.lose(hosts.here.peer)
    assert tasks(outputs, hosts.there.peer) == [(ann.id(2), 2)], "there has it from 3"
    hosts.there.ends((ann.id(2), 2))
    hosts.rig.lose(hosts.there.peer)
    assert tasks(ann.submit(4), newcomer.peer) == [(ann.id(4), 1)]


def test_nothing_is_remembered_when_the_last_such_host_is_gone() -> None:
    hosts = Hosts()
    ann = hosts.ann
    ann.submit(1, 2, 3, needs={3: [1, 2]}, unwanted=[1])
    store(hosts.here, ann, 1)
    hosts.rig.lose(hosts.here.peer)
    hosts.rig.lose(hosts.there.peer)
    ann.say(Cancel(q(2)))
    assert not any(hosts.rig.state.board.locality.preferred)
    assert len(hosts.rig.state.board) == 0
    hosts.rig.state.check()


def test_workers_on_the_storage_of_the_scheduler_are_equals() -> None:
    rig = Rig()
    ann, first, second = rig.client(), rig.worker(), rig.worker()
    ann.submit(1, 2, 3, needs={3: [2]}, unwanted=[2])
    first.ends((ann.id(1), 1))
    assert tasks(store(second, ann, 2), first.peer) == [(ann.id(3), 1)], "idle for longest"
    assert not rig.state.board.locality
