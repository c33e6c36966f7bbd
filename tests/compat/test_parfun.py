"""opengris-parfun as its registry serves it, with programs of the kinds its documentation shows, on our cluster."""

import operator
import os

import pandas
import parfun
import pytest
from parfun.functions import parallel_map, parallel_starmap

pytestmark = pytest.mark.integration


@parfun.parallel(
    split=parfun.per_argument(values=parfun.py_list.by_chunk),
    combine_with=parfun.py_list.concat,
    fixed_partition_size=10,
)
def list_pow(values: list[float], factor: float) -> list[float]:
    return [value**factor for value in values]


@parfun.parallel(
    split=parfun.per_argument(values=parfun.py_list.by_chunk),
    combine_with=parfun.py_list.concat,
)
def estimated(values: list[int]) -> list[int]:
    return [value + 1 for value in values]


@parfun.parallel(
    split=parfun.per_argument(frame=parfun.dataframe.by_row),
    combine_with=parfun.dataframe.concat,
    fixed_partition_size=25,
)
def relative(frame: pandas.DataFrame, column: str) -> pandas.DataFrame:
    return frame.assign(process=os.getpid(), relative=frame[column] / 100)


@parfun.parallel(
    split=parfun.all_arguments(parfun.dataframe.by_group(by="year")),
    combine_with=parfun.dataframe.concat,
    fixed_partition_size=1,
)
def yearly(frame: pandas.DataFrame) -> pandas.DataFrame:
    return frame.groupby("year", as_index=False)["value"].sum()


@parfun.parallel(
    split=parfun.per_argument(values=parfun.py_list.by_chunk),
    combine_with=sum,
    fixed_partition_size=1,
)
def failing(values: list[int]) -> int:
    return sum(1 // value for value in values)


@parfun.parallel(
    split=parfun.per_argument(rows=parfun.py_list.by_chunk),
    combine_with=parfun.py_list.concat,
    fixed_partition_size=1,
)
def outer(rows: list[list[float]]) -> list[list[float]]:
    return [list_pow(row, 2) for row in rows]


@pytest.fixture(scope="module", params=["scaler_local", "scaler_remote"])
def backend(request):
    """Both of its backends: the one starts a cluster, the other is given an address."""
    if request.param == "scaler_local":
        with parfun.set_parallel_backend_context("scaler_local", n_workers=2, logging_level="WARNING"):
            yield request.param
    else:
        address = request.getfixturevalue("client").address
        context = parfun.set_parallel_backend_context(
            "scaler_remote", scheduler_address=address, n_workers=2, allows_nested_tasks=False
        )
        with context:
            yield request.param


def test_the_first_program_of_its_readme(backend):
    assert list_pow([1, 2, 3], 2) == [1, 4, 9]


def test_many_partitions(backend):
    assert list_pow(list(range(105)), 2) == [value**2 for value in range(105)]


def test_its_estimator_learns_from_profiles(backend):
    for size in (1, 10, 100, 1000):
        assert estimated(list(range(size))) == list(range(1, size + 1))


def test_data_frames(backend):
    frame = pandas.DataFrame({"value": range(100)})
    result = relative(frame, "value").reset_index(drop=True)
    assert list(result["relative"]) == [value / 100 for value in range(100)]
    assert os.getpid() not in set(result["process"])


def test_groups(backend):
    frame = pandas.DataFrame({"year": [2020, 2021, 2020, 2022, 2021], "value": [1, 2, 3, 4, 5]})
    result = yearly(frame).sort_values("year")
    assert dict(zip(result["year"], result["value"], strict=True)) == {2020: 4, 2021: 7, 2022: 4}


def test_a_failure(backend):
    with pytest.raises(ZeroDivisionError):
        failing([1, 2, 0, 3])


def test_parallel_inside_parallel(backend):
    assert outer([[1, 2], [3, 4]]) == [[1, 4], [9, 16]]


def test_parallel_map(backend):
    with parfun.get_parallel_backend().session() as session:
        assert list(parallel_map(operator.add, [10, 7, 15], [12, 15, 5], backend_session=session)) == [22, 22, 20]
        assert list(parallel_starmap(operator.add, [(10, 12), (7, 15)], backend_session=session)) == [22, 22]


def test_a_preloaded_value(backend):
    with parfun.get_parallel_backend().session() as session:
        value = session.preload_value(list(range(1000)))
        futures = [session.submit(len, value) for _ in range(3)]
        assert [future.result() for future in futures] == [1000] * 3
        assert futures[0].duration() > 0
