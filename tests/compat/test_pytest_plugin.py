"""The fixtures, in runs of pytest of their own."""

import sys

import pytest

pytest_plugins = "pytester"
pytestmark = pytest.mark.integration

TESTS = """
    import os
    import time
    from pathlib import Path

    import pytest

    left = []

    def forever(mark):
        Path(mark).touch()
        time.sleep(3600)

    def test_one_call(scaler_client):
        assert scaler_client.submit(abs, -1).result(20) == 1

    def test_leaves_tasks_behind(scaler_client, tmp_path):
        futures = [scaler_client.submit(forever, str(tmp_path / str(i))) for i in range(10)]
        while not list(tmp_path.iterdir()):
            time.sleep(0.01)
        left.append((scaler_client, futures))

    def test_finds_a_client_of_its_own_and_free_slots(scaler_client, scaler_cluster):
        client, futures = left.pop()
        assert client is not scaler_client and client.closed
        assert all(future.cancelled() for future in futures)
        assert scaler_client.address == scaler_cluster.get_address()
        assert scaler_client.submit(abs, -2).result(20) == 2
"""


def test_fixtures(pytester):
    pytester.makepyfile(TESTS)
    pytester.runpytest_subprocess().assert_outcomes(passed=3)


SLOTS = """
    def test_slots(scaler_cluster):
        assert scaler_cluster.n_workers == {}
"""


def test_two_workers_are_the_default(pytester):
    pytester.makepyfile(SLOTS.format(2))
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_workers_by_the_configuration_and_the_command_line(pytester):
    pytester.makeini("[pytest]\nscaler_workers = 3")
    pytester.makepyfile(SLOTS.format(3))
    pytester.runpytest_subprocess().assert_outcomes(passed=1)
    pytester.makepyfile(SLOTS.format(1))
    pytester.runpytest_subprocess("--scaler-workers", "1").assert_outcomes(passed=1)


@pytest.mark.parametrize("number", ["0", "many"])
def test_bad_usage(pytester, number):
    done = pytester.runpytest_subprocess("--scaler-workers", number)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(f"*scaler_workers has to be a number of 1 or more, not '{number}'*")


def test_it_costs_nothing_to_those_who_do_not_use_it(pytester):
    pytester.makepyfile(
        """
        import sys

        def test_imports():
            assert "scaler.compat.pytest_plugin" in sys.modules
            assert "scaler.client.client" not in sys.modules
        """
    )
    done = pytester.run(sys.executable, "-m", "pytest")
    done.assert_outcomes(passed=1)
