"""The backend under the real joblib and scikit-learn."""

import multiprocessing
import os
import threading
import time

import joblib
import numpy
import pytest
from joblib import Parallel, delayed
from sklearn.datasets import load_iris
from sklearn.model_selection import GridSearchCV
from sklearn.svm import SVC

import scaler.compat.joblib as backend

pytestmark = pytest.mark.integration


def square(x):
    return x * x


def invert(x):
    return 1 / x


def forever(x):
    time.sleep(3600)


def total(array, factor):
    return int(array.sum()) * factor


def inner_sum(n):
    return sum(Parallel(n_jobs=2)(delayed(square)(i) for i in range(n))), os.getpid()


@pytest.fixture(autouse=True)
def on_scaler(client):
    with joblib.parallel_config("scaler", client=client, n_jobs=2):
        yield


def test_in_order_and_elsewhere():
    assert Parallel()(delayed(square)(i) for i in range(100)) == [i * i for i in range(100)]
    assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(4))


@pytest.mark.parametrize("batch_size", [1, 7, "auto"])
def test_batches(batch_size):
    assert Parallel(batch_size=batch_size)(delayed(square)(i) for i in range(50)) == [i * i for i in range(50)]


def test_generators():
    assert list(Parallel(return_as="generator")(delayed(square)(i) for i in range(20))) == [i * i for i in range(20)]
    unordered = Parallel(return_as="generator_unordered")(delayed(square)(i) for i in range(20))
    assert sorted(unordered) == [i * i for i in range(20)]


def test_lambdas_and_one_parallel_used_twice():
    with Parallel() as parallel:
        assert parallel(delayed(lambda x: x + 1)(i) for i in range(5)) == [1, 2, 3, 4, 5]
        assert parallel(delayed(lambda x: x + 2)(i) for i in range(3)) == [2, 3, 4]


def test_the_first_failure_is_raised_and_the_rest_cancelled(client):
    with pytest.raises(ZeroDivisionError):
        Parallel(batch_size=1, pre_dispatch="all")(
            delayed(function)(0) for function in [invert, forever, forever, forever]
        )
    assert client.submit(square, 3).result(20) == 9  # the slots are free again
    assert Parallel()(delayed(square)(i) for i in range(3)) == [0, 1, 4]


def test_a_timeout():
    with pytest.raises(multiprocessing.TimeoutError):
        Parallel(timeout=0.05)(delayed(forever)(i) for i in range(2))


def test_a_large_argument_is_sent_once(client, monkeypatch):
    sent, freed = [], []
    send, free = client.send_object, client.free_object
    monkeypatch.setattr(client, "send_object", lambda obj: sent.append(obj) or send(obj))
    monkeypatch.setattr(client, "free_object", lambda reference: freed.append(reference) or free(reference))
    array = numpy.arange(1_000_000)
    results = Parallel(batch_size=1)(delayed(total)(array, factor=i) for i in range(6))
    assert results == [int(array.sum()) * i for i in range(6)]
    assert (len(sent), len(freed)) == (1, 1)


def test_nested_calls_stay_in_their_task():
    results = Parallel(batch_size=1)(delayed(inner_sum)(n) for n in (3, 4))
    assert [value for value, _ in results] == [5, 14]


def test_nested_calls_on_the_cluster(client):
    with joblib.parallel_config("scaler", client=client, n_jobs=2, nested=True):
        [(value, _)] = Parallel(batch_size=1)(delayed(inner_sum)(n) for n in (5,))
    assert value == 30


def test_n_jobs(client):
    made = backend.ScalerBackend(client)
    assert [made.effective_n_jobs(n) for n in (None, 1, 5, -1, -2, -9)] == [1, 1, 5, 2, 1, 1]
    assert backend.ScalerBackend(address=client.address).effective_n_jobs(-1) == 2
    with pytest.raises(ValueError, match="no meaning"):
        made.effective_n_jobs(0)


def test_a_client_of_its_own_is_kept():
    threads = threading.active_count()
    with joblib.parallel_config("scaler", n_workers=1, n_jobs=2):
        first = Parallel(batch_size=1)(delayed(os.getppid)() for _ in range(2))
    with joblib.parallel_config("scaler", n_workers=1, n_jobs=2):
        again = Parallel(batch_size=1)(delayed(os.getppid)() for _ in range(2))
    assert first == again
    for key, client in list(backend._clients.items()):
        if key[1] == 1:
            client.disconnect()
    assert threading.active_count() <= threads + 1


def test_grid_search():
    features, classes = load_iris(return_X_y=True)
    grid = {"C": [0.1, 1, 10], "kernel": ["linear", "rbf"]}
    found = GridSearchCV(SVC(), grid, cv=3).fit(features, classes)
    with joblib.parallel_config("threading", n_jobs=1):
        expected = GridSearchCV(SVC(), grid, cv=3).fit(features, classes)
    assert found.best_params_ == expected.best_params_
    assert list(found.cv_results_["mean_test_score"]) == list(expected.cv_results_["mean_test_score"])
