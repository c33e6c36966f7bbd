"""Systems side by side, at tiny sizes: the adapters of Scaler and of the standard library, and systems that are not to be had."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.contestant import HERE, Contestant
from benchmarks.environments import Unavailable, _run
from benchmarks.race import MEASURES, count_of, race
from benchmarks.systems.work import tree

RACED = tuple(measure for measure in MEASURES if measure not in ("idle", "echo"))


@pytest.mark.integration
def test_every_system_answers_every_measure(tmp_path):
    told = []
    found = race(("scaler", "pool", "executor", "nowhere"), RACED, 1, 2, tmp_path, 0.002, told.append)
    for name in ("scaler", "pool", "executor"):
        measures = found[name]["measures"]
        assert measures.keys() == set(RACED), found[name]
        for measure in ("start", "submit", "map", "round_trip"):
            assert measures[measure][0]["value"] > 0
        assert {"client", "executor"} <= measures["submit"][0]["cpu_us"].keys()
        assert measures["map"][0]["count"] == count_of(name, "map", 0.002)
    assert {"scheduler", "worker", "storage"} <= found["scaler"]["measures"]["submit"][0]["cpu_us"].keys()
    assert found["scaler"]["measures"]["graph"][0]["value"] > 0
    assert found["pool"]["measures"]["graph"] == [{"missing": "no graphs"}]
    assert "No module named 'systems.nowhere'" in found["nowhere"]["missing"]
    assert any("nowhere" in line for line in told)


@pytest.mark.integration
def test_a_system_that_ends_early_says_why():
    with Contestant("pool", Path(sys.executable), 1) as contestant:
        contestant._process.kill()
        with pytest.raises(Unavailable, match="it ended"):
            contestant.ask("submit", 1)


def test_a_failed_installation_tells_its_last_line():
    with pytest.raises(Unavailable, match="cannot be installed: no such thing"):
        _run([sys.executable, "-c", "import sys; sys.exit('first\\nno such thing')"])


def test_adapters_of_peers_do_not_need_scaler():
    """They are run where Scaler is not installed, or another package has its name."""
    program = (
        "import sys; sys.modules['scaler'] = None\n"
        "import systems.measures, systems.opengris, systems.dask, systems.ray, systems.pool, systems.executor"
    )
    subprocess.run([sys.executable, "-c", program], cwd=HERE, check=True)


@pytest.mark.parametrize("nodes", [3, 4, 15_000])
def test_the_tree_is_complete(nodes):
    graph, root, count = tree(nodes)
    assert abs(count - nodes) <= 1

    def value(key):
        entry = graph[key]
        return entry[0](*map(value, entry[1:])) if isinstance(entry, tuple) else entry

    leaves = (count + 1) // 2
    assert value(root) == leaves * (leaves - 1) // 2
