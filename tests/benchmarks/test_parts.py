"""The parts of Scaler by themselves, at tiny sizes."""

import pytest

from benchmarks import backlog, growth, journal, makespan, profiling, scaling, scheduler_alone, state_alone


@pytest.mark.integration
def test_the_scheduler_alone():
    found = scheduler_alone.measure(2_000)
    assert found["tasks/s"] > 0
    assert found.keys() == {"tasks/s", "sender, us", "scheduler, us", "zero worker, us"}


@pytest.mark.integration
def test_a_backlog_goes_through():
    assert backlog.measure(1_000)["tasks/s"] > 0


@pytest.mark.integration
def test_what_a_journal_costs_is_measured(tmp_path):
    with journal.cluster("journal", "nightly", tmp_path / "journal") as kind:
        assert kind.burst(500)["burst, tasks/s"] > 0
        assert kind.mapped(500)["map, items/s"] > 0
    assert (tmp_path / "journal").stat().st_size > 500


def test_the_state_alone_forgets_what_ended():
    alone = state_alone.StateAlone(10, classes=3)
    alone.submit(500, frame=20)
    alone.settle()
    assert state_alone.cost(alone, 1_000, frame=20) > 0
    alone.state.check()
    assert len(alone.state.board) == 500


def test_growth_has_a_figure_for_each_size():
    found = growth.measure(2, largest=10, tasks=100)
    assert found["workers"].keys() == {"1", "10"}
    assert all(len(values) == 2 for sizes in found.values() for values in sizes.values())


def test_recorded_loads_are_read_and_what_is_none_is_told(tmp_path):
    assert len(scaling.recorded(scaling.RECORDED / "search.csv")) == 725
    file = tmp_path / "load.csv"
    file.write_text("submitted,seconds\n0,1\n1,soon\n")
    with pytest.raises(ValueError, match=r"load.csv, line 3: not of the form"):
        scaling.recorded(file)


def test_scaling_costs_more_than_the_work_and_less_than_slots_all_the_time():
    load = scaling.bursts(2, 20)
    found = {name: scaling.measure(policy, load) for name, policy in scaling.POLICIES.items()}
    for name, outcome in found.items():
        assert 1.0 <= outcome.cost < scaling.SLOTS * 60 / 40, name
        assert scaling.START_SECONDS / 2 < outcome.mean_wait <= outcome.worst_wait, name
    assert found["target_time, 60 s"].cost < found["target_time, 10 s"].cost < found["vanilla"].cost


def test_makespans_lie_between_the_bound_and_work_one_after_another():
    for name, (seconds, joins) in makespan.scenarios(1_000).items():
        bound = makespan.bound(seconds, joins)
        assert bound <= makespan.simulate(seconds, joins) < sum(seconds), name
        assert bound <= makespan.one_queue(seconds, joins) * (1 + 1e-9), name


@pytest.mark.parametrize(
    ("seconds", "joins", "bound"),
    [
        ([1.0] * 10, [(0.0, 2)], 5.0),
        ([1.0, 9.0], [(0.0, 2)], 9.0),
        ([1.0] * 10, [(0.0, 1), (4.0, 1)], 7.0),
        ([1.0, 1.0], [(0.0, 2), (4.0, 1)], 1.0),
    ],
)
def test_the_bound(seconds, joins, bound):
    assert makespan.bound(seconds, joins) == bound
    assert makespan.one_queue(seconds, joins) >= bound


def test_stacks_are_summed_up():
    text = profiling.summary(["a (x.py:1);b (x.py:7) 3", "a (x.py:2);b (x.py:9) 1", "a (x.py:1) 4"])
    assert text.splitlines()[1:] == ["  50.0%       50.0%   b (x.py", "  50.0%      100.0%   a (x.py"]
