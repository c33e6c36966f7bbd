"""python-graphblas against scaler._core: equal results, equal refusals."""

from __future__ import annotations

import subprocess
import sys
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaler._core import analysis as core
from scaler.client import graphblas_analysis
from scaler.client.graph import analysis_engine, plan
from scaler.errors import ConfigurationError, CycleError
from tests._core.test_analysis import as_columns, i, node_columns

QUESTIONS = ("critical_path", "levels", "run_order", "find_cycle")


def answer(question: Callable[..., array[int]], *columns: array[int]) -> Any:
    try:
        return question(*columns)
    except (ValueError, IndexError) as error:
        return type(error)


@given(node_columns(), st.data())
@settings(max_examples=150, deadline=None)
def test_equal_answers(nodes: list[list[int]], data: st.DataObject) -> None:
    columns = as_columns(nodes)
    for question in QUESTIONS:
        assert answer(getattr(graphblas_analysis, question), *columns) == answer(getattr(core, question), *columns)
    targets = i(*data.draw(st.lists(st.sampled_from(range(len(nodes))), max_size=3))) if nodes else i()
    assert graphblas_analysis.needed(*columns, targets) == core.needed(*columns, targets)


@given(st.integers(0, 300), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_equal_answers_of_larger_graphs(n: int, random: Any) -> None:
    columns = as_columns([random.sample(range(node), min(node, random.randrange(4))) for node in range(n)])
    for question in QUESTIONS:
        assert getattr(graphblas_analysis, question)(*columns) == getattr(core, question)(*columns)


@pytest.mark.parametrize("columns", [(i(1), i(1)), (i(1), i()), (i(0), i(0)), (i(1, 0), i(0))])
def test_equal_refusals(columns: tuple[array[int], array[int]]) -> None:
    for question in QUESTIONS:
        refused = answer(getattr(core, question), *columns)
        assert answer(getattr(graphblas_analysis, question), *columns) == refused
        assert refused in (ValueError, IndexError)
    assert answer(graphblas_analysis.needed, i(0), i(), i(1)) is answer(core.needed, i(0), i(), i(1)) is IndexError


def test_plans_are_the_same() -> None:
    graph: dict[Any, Any] = {0: 1, 1: (abs, -1)} | {n: (max, n - 1, (min, n - 2, n // 2)) for n in range(2, 100)}
    graph |= {"alias": 50, "constant": [1, 2], "end": (sum, ["alias", 99, "constant"]), "left out": (abs, "circle")}
    graph |= {"circle": (abs, "round"), "round": (abs, "circle")}

    def described(analysis: Any) -> Any:
        made = plan(graph, ["end", "alias"], analysis=analysis)
        keys = [node.key for node in made.nodes]
        needs = {node.key: {keys[position] for position in node.dependencies} for node in made.nodes}
        return needs, {key: keys[position] for key, position in made.places.items()}

    assert described(graphblas_analysis) == described(core)
    with pytest.raises(CycleError, match=r"'(circle|round)' -> '(circle|round)' -> '(circle|round)'"):
        plan(graph, ["left out"], analysis=graphblas_analysis)


def test_the_option() -> None:
    assert analysis_engine("core") is core
    assert analysis_engine("graphblas") is graphblas_analysis
    with pytest.raises(ConfigurationError, match="'core' and 'graphblas'"):
        analysis_engine("networkx")


def test_a_missing_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['graphblas'] = None\n"
        "from scaler import Client, ExtraMissingError\n"
        "try: Client('tcp://127.0.0.1:1', graph_engine='graphblas')\n"
        "except ExtraMissingError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "pip install 'opengris-scaler[graphblas]'" in done.stdout
