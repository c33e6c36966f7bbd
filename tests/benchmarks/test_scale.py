"""The limits of one scheduler and the simulation of several, at small sizes."""

import pytest

from benchmarks.scale import busy, connections, lend, limits, share, through
from benchmarks.scale.__main__ import main
from scaler.messages import Role


@pytest.mark.integration
def test_a_connection_costs_a_scheduler_little_memory():
    found = connections.measure(300, Role.worker, seconds=0.1)
    assert 0 < found["KB a connection"] < 60, "each has had a buffer of 256 KiB before"
    assert found["us to connect"] > 0


@pytest.mark.integration
def test_bytes_go_through():
    found = through.measure(64 << 10, 1_000_000)
    assert found["MB/s"] == pytest.approx(found["tasks/s"] * (64 << 10) / 1e6)


def test_the_state_has_limits():
    assert limits.memory(100).keys() == {"worker", "client", "task", "item"}
    assert all(taken > 0 for taken in limits.costs(100).values())
    assert limits.storm(100) > 0


def test_few_workers_of_long_tasks_are_kept_busy_and_many_of_short_ones_are_not():
    assert busy.measure("singles", 0.5, 20, least=100).busy > 0.9
    assert busy.measure("singles", 0.000_1, 200, least=1_000).busy < 0.9
    assert busy.measure("arrays", 0.001, 4, slots=4, least=200).tasks_a_second > 0


def test_schedulers_share_the_same_work():
    """How much sooner it ends is for the benchmark to say: the processor's time is really measured."""
    one, two = (share.measure(count, tasks=50_000, workers=100, clients=2) for count in (1, 2))
    assert one.tasks == two.tasks == 50_000
    assert one.bound == two.bound <= min(one.makespan, two.makespan)


def test_workers_go_to_where_work_waits():
    stay, lent = (lend.simulate(policy, 4, 40, 1_000, 8) for policy in ("stay", "work"))
    assert stay.moved == 0 and lent.moved > 0
    assert lent.makespan < stay.makespan
    assert lend.simulate("clients", 4, 40, 1_000, 8).mean_end < stay.mean_end


@pytest.mark.parametrize(
    ("total", "weights", "wants", "given"),
    [
        (10, [1, 1], [100, 100], [5, 5]),
        (10, [1, 1], [2, 100], [2, 8]),
        (10, [1, 4], [100, 100], [2, 8]),
        (10, [1, 1, 1], [100, 100, 100], [4, 3, 3]),
        (10, [1, 1], [0, 3], [0, 3]),
        (10, [0, 1], [5, 5], [0, 5]),
        (0, [1], [1], [0]),
    ],
)
def test_shares(total, weights, wants, given):
    assert lend.shares(total, weights, wants) == given


@pytest.mark.parametrize(
    ("has", "shall", "gives"),
    [
        ([5, 5, 0], [2, 4, 4], [3, 1, 0]),
        ([10, 0], [0, 4], [4, 0]),
        ([6, 6], [0, 0], [0, 0]),
        ([101, 99], [100, 100], [0, 0]),
    ],
)
def test_moves(has, shall, gives):
    assert lend.moves(has, shall) == gives


@pytest.mark.parametrize(
    ("command", "heading", "row"),
    [
        (["storm", "50"], "| workers | us a worker |", "| 50 | "),
        (["limits", "50"], "| bytes with so many | worker | client | task | item |", "| 50 | "),
        (
            ["share", "1", "--tasks", "20000", "--workers", "50", "--clients", "2"],
            "| schedulers | makespan, s |",
            "| 1 | ",
        ),
    ],
)
def test_tables_are_printed_line_by_line(command, heading, row, capsys):
    main(command)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(heading)
    assert lines[2].startswith(row)


def test_what_is_no_table_is_refused(capsys):
    with pytest.raises(SystemExit):
        main(["sharing"])
    assert "invalid choice: 'sharing'" in capsys.readouterr().err
