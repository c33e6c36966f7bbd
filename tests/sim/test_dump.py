"""A state that is written down and made again is the same state: it goes on as if nothing had happened."""

from __future__ import annotations

import json
import sys
from array import array
from base64 import b64encode
from pathlib import Path

import pytest

from scaler.messages import Function
from scaler.scheduler.dump import dump
from scaler.scheduler.state import SchedulerState

from . import __main__ as command
from .cluster import Cluster
from .load import load
from .puppets import Puppets
from .run import FAULT_SECONDS, RESTART_SECONDS, plan_faults, policy, populate, quality
from .test_scenarios import array_of, parents, plain, quiet, wait


def written(cluster: Cluster, with_payloads: bool = False) -> str:
    node = cluster.scheduler
    return json.dumps(dump(node.state, node.now, with_payloads))


def again(text: str) -> SchedulerState:
    state, _ = load(json.loads(text))
    state.check()
    return state


@pytest.mark.parametrize("seed", range(8))
def test_a_simulation_goes_on_with_a_state_that_was_written_down(seed: int) -> None:
    """Again and again, at any moment, with faults or without."""
    cluster = Cluster(seed, policy=policy(seed), check_every=5)
    cluster.network.quality = quality(cluster.clock)
    populate(cluster, calm=seed % 2 == 0)
    if seed % 2:
        plan_faults(cluster)

    def exchange() -> None:
        if cluster.scheduler.alive:
            cluster.scheduler.state = again(written(cluster, with_payloads=True))

    for i in range(30):
        cluster.clock.at(cluster.clock.random.random() * (0.5 if i % 2 else FAULT_SECONDS), exchange)
    cluster.finish(FAULT_SECONDS + RESTART_SECONDS)


def busy() -> Cluster:
    """Something of everything: running, given, ready, waiting, ranges, tasks in tasks, kept results, a worker that leaves."""
    cluster, user = quiet(2, 3)
    other = cluster.add_user()
    wait(cluster, 0.1)
    user.submit(*parents(user, 2, children=3))
    plain(user, 20, 0.5)
    array_of(user, 500, 0.001)
    user.graph(20)
    plain(other, 10, 0.2)
    wait(cluster, 0.4)
    return cluster


def test_what_can_be_asked_of_it_is_answered_as_before() -> None:
    cluster = busy()
    before = cluster.scheduler.state
    state = again(written(cluster))
    assert state.snapshot() == before.snapshot()
    board = before.board
    alive = [task for task in range(board.slots.capacity) if board.life.state(task)]
    assert len(alive) > 30
    for task in alive:
        (id,) = board.slots.ids(array("I", [task]))
        assert state.explain(id) == before.explain(id)
    assert state.overview() == before.overview()


def test_users_bytes_are_not_in_it_but_how_many() -> None:
    cluster, user = quiet(1)
    secret = b"the user's own secret"
    jobs = plain(user, 3, 0.5)
    user.client.state.define(Function(99, "test", secret, b"", "f99"))
    user.client.wake()
    wait(cluster, 0.1)
    text = written(cluster)
    for data in (secret, *(job.payload for job in jobs)):
        assert b64encode(data).decode().rstrip("=")[:-1] not in text
    assert f'{{"zeros": {len(secret)}}}' in text
    payloads = again(text).board._payloads
    assert [len(payload) for payload in payloads if payload] == [len(job.payload) for job in jobs]
    assert not any(any(payload or b"") for payload in payloads)


def test_puppets_end_what_was_there() -> None:
    cluster = busy()
    state, now = load(json.loads(written(cluster)))
    left = len(state.board)
    puppets = Puppets(state, now)
    assert left and puppets.run(200.0)
    assert puppets.ended > left and not len(state.board)


def test_the_command_tells_what_is_there_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster, user = quiet(1)
    plain(user, 3, 0.5)
    wait(cluster, 0.1)
    path = tmp_path / "dump.json"
    path.write_text(written(cluster))
    monkeypatch.setattr(sys, "argv", ["tests.sim", "--load", str(path)])
    assert command.main() == 0
    out = capsys.readouterr().out
    assert "it runs on worker" in out and "it waits: all workers that can run it have enough to do" in out
    assert "3 tasks and items ran" in out and "0 are left" in out


@pytest.mark.parametrize("text", ["{}", "[]", "no JSON", '{"format": 1, "root": 1, "objects": []}'])
def test_what_is_no_dump_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    path = tmp_path / "dump.json"
    path.write_text(text)
    assert command.go_on(str(path)) == 2
    assert str(path) in capsys.readouterr().err


def test_a_dump_names_only_what_is_of_this_project() -> None:
    told = {"format": 1, "now": 0, "root": {"known": "os:system"}, "objects": []}
    with pytest.raises(ValueError, match="os:system, which is nothing of this project"):
        load(told)
