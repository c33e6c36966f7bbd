"""The client against a real local cluster."""

import asyncio
import concurrent.futures
import functools
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

import scaler
from scaler import Client, Scheduler, SerializationError

from .conftest import wait_until

pytestmark = pytest.mark.integration


def square(x: int) -> int:
    return x * x


def fail(x: int) -> int:
    raise LookupError(f"no {x}")


class Unreadable(Exception):
    """Pickles, and cannot be read again: its constructor wants two arguments."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")


def raise_unreadable() -> None:
    raise Unreadable(1, 2)


def wait_for_file(path: str) -> str:
    """Runs until a file appears."""
    while not Path(path).exists():
        time.sleep(0.005)
    return "there"


def started(directory: str, name: str) -> str:
    """Leaves a mark, and never ends."""
    Path(directory, name).touch()
    time.sleep(3600)
    return name


def until(condition, seconds=10.0):
    """Poll a condition of another process."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


class TestCalls:
    def test_submit(self, client):
        assert client.submit(square, 7).result(20) == 49

    @pytest.mark.parametrize(
        ("function", "args", "kwargs", "expected"),
        [
            (min, (3, 1, 2), {}, 1),
            (sorted, ([3, 1, 2],), {"reverse": True}, [3, 2, 1]),
            (functools.partial(int, base=2), ("101",), {}, 5),
            ("x".join, (["a", "b"],), {}, "axb"),
            (lambda a, *, b=2, **rest: (a, b, rest), (1,), {"c": 3}, (1, 2, {"c": 3})),
        ],
        ids=["builtin", "keyword", "partial", "bound method", "keyword-only"],
    )
    def test_calls_are_python_calls(self, client, function, args, kwargs, expected):
        assert client.submit(function, *args, **kwargs).result(20) == expected

    def test_each_task_has_objects_of_its_own(self, client):
        shared = [1]

        def grow(values):
            values.append(2)
            return values

        assert client.map(grow, [shared, shared]) == [[1, 2], [1, 2]]
        assert shared == [1]

    def test_options(self, client):
        future = client.submit_verbose(square, (3,), {}, priority=5, retries=1, timeout=30, name="three squared")
        assert future.result(20) == 9

    def test_timeout(self, client):
        future = client.submit_verbose(time.sleep, (3600,), {}, timeout=0.2)
        with pytest.raises(scaler.TaskTimeoutError, match="its limit is"):
            future.result(20)

    def test_retries(self, client, tmp_path):
        def third_time(directory):
            tried = len(list(Path(directory).iterdir()))
            Path(directory, str(tried)).touch()
            if tried < 2:
                raise OSError("not yet")
            return tried

        assert client.submit_verbose(third_time, (str(tmp_path),), {}, retries=2).result(20) == 2

    def test_capabilities_wait(self, client):
        future = client.submit_verbose(square, (3,), {}, capabilities=["gpu"])
        assert client.submit(square, 2).result(20) == 4  # others pass by
        assert not future.done()
        assert future.cancel()


class TestExplain:
    def test_why_a_task_waits_runs_and_failed(self, client):
        needy = client.submit_verbose(int, (), {}, capabilities={"gpu": 1})
        wait_until(lambda: client.explain(needy).startswith("it waits: no worker offers gpu"), "the worker is there")
        needy.cancel()
        runs = client.submit(time.sleep, 60)
        wait_until(lambda: client.explain(runs).startswith("it runs on worker"), "it runs")
        runs.cancel()
        failed = client.submit(divmod, 1, 0)
        failed.exception()
        assert "it has ended as failed, in attempt 1" in client.explain(failed)
        assert "ZeroDivisionError" in client.explain(failed)
        done = client.submit(int)
        done.result()
        assert client.explain(done).startswith("it has ended: finished after")

    def test_a_task_of_another_client(self, client):
        with Client(str(client._service.address)) as other, pytest.raises(ValueError, match="is not of this client"):
            other.explain(client.submit(int))


class TestMaps:
    def test_map_keeps_order(self, client):
        assert client.map(square, range(3000)) == [x * x for x in range(3000)]

    def test_shortest_ends(self, client):
        assert client.map(pow, [2, 3, 4], [2, 2]) == [4, 9]

    def test_starmap(self, client):
        assert client.starmap(pow, [(2, 3), (3, 2)]) == [8, 9]

    def test_empty(self, client):
        assert client.map(square, []) == []

    def test_first_failure_is_raised_and_the_client_stays_usable(self, client):
        with pytest.raises(LookupError, match="no "):
            client.map(fail, range(100))
        assert client.submit(square, 3).result(20) == 9

    def test_progress(self, client, capfd):
        assert client.map(square, range(50), progress=True) == [x * x for x in range(50)]
        assert "50/50" in capfd.readouterr().err


class TestGraphs:
    def test_results_follow_the_order_of_keys(self, client):
        graph = {"a": 2, "b": (square, "a"), "c": (sum, ["a", "b"]), "unused": (fail, 1)}
        assert list(client.get(graph, ["c", "a", "b"]).items()) == [("c", 6), ("a", 2), ("b", 4)]

    def test_without_blocking(self, client):
        found = client.get({"a": 1, "b": (square, "a")}, ["a", "b"], block=False)
        assert {key: future.result(20) for key, future in found.items()} == {"a": 1, "b": 1}

    def test_failure_goes_through_and_the_others_finish(self, client):
        graph = {"bad": (fail, 1), "after": (square, "bad"), "good": (square, 3)}
        found = client.get(graph, ["after", "good"], block=False)
        with pytest.raises(LookupError, match="no 1"):
            found["after"].result(20)
        assert found["good"].result(20) == 9

    def test_long_chain(self, client):
        graph = {"k0": 1} | {f"k{i}": (abs, f"k{i - 1}") for i in range(1, 500)}
        assert client.get(graph, ["k499"]) == {"k499": 1}

    def test_more_functions_than_are_remembered(self, client):
        graph = {f"k{i}": (functools.partial(max, i), 0) for i in range(1500)}
        assert client.get(graph, list(graph)) == {f"k{i}": i for i in range(1500)}
        assert [client.submit(functools.partial(max, -i), -3000).result(20) for i in range(3)] == [0, -1, -2]

    def test_large_intermediate(self, client):
        graph = {"big": (bytes, 300_000), "size": (len, "big")}
        assert client.get(graph, ["size"]) == {"size": 300_000}


class TestErrors:
    def test_exception_has_the_remote_traceback(self, client):
        with pytest.raises(LookupError, match="no 7") as caught:
            client.submit(fail, 7).result(20)
        assert "in fail" in str(caught.value.__cause__)
        assert "executor.py" not in str(caught.value.__cause__)

    def test_exception_that_does_not_come_through(self, client):
        with pytest.raises(scaler.RemoteError, match="Unreadable: 1 and 2"):
            client.submit(raise_unreadable).result(20)

    def test_unpicklable_argument(self, client):
        with pytest.raises(SerializationError, match=r"argument 2 of square\['key'\] \(a _thread.lock\)"):
            client.submit(square, 1, {"key": threading.Lock()})

    def test_unpicklable_function(self, client):
        lock = threading.Lock()
        with pytest.raises(SerializationError, match="variable 'lock' of its closure"):
            client.submit(lambda: lock)

    def test_unpicklable_result(self, client):
        with pytest.raises(SerializationError, match=r"the result of (Lock|allocate_lock)"):
            client.submit(threading.Lock).result(20)

    def test_system_exit_ends_the_task_only(self, client):
        with pytest.raises(SystemExit):
            client.submit(exit, 3).result(20)


class TestFutures:
    def test_cancel_running(self, client, tmp_path):
        future = client.submit(started, str(tmp_path), "it")
        until(Path(tmp_path, "it").exists)
        assert future.cancel()
        assert future.cancelled()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(1)
        assert client.map(square, range(4)) == [0, 1, 4, 9]  # both slots are there again

    def test_standard_library_takes_them(self, client):
        futures = [client.submit(square, x) for x in range(20)]
        done, open_ones = concurrent.futures.wait(futures, 20)
        assert len(done) == 20
        assert not open_ones
        assert sorted(f.result() for f in concurrent.futures.as_completed(futures)) == [x * x for x in range(20)]

    def test_await(self, client):
        async def both():
            return await asyncio.gather(client.submit(square, 2), client.submit(square, 3))

        assert asyncio.run(both()) == [4, 9]

    def test_result_times_out(self, client, tmp_path):
        future = client.submit(wait_for_file, str(tmp_path / "gate"))
        with pytest.raises(TimeoutError):
            future.result(0.05)
        (tmp_path / "gate").touch()
        assert future.result(20) == "there"

    def test_profile(self, client):
        future = client.submit(time.sleep, 0.05)
        with pytest.raises(ValueError, match="has not ended"):
            future.profiling_info()
        future.result()
        profile = future.profiling_info()
        assert 0.05 <= profile.duration_s < 5
        assert profile.memory_peak > 1 << 20
        assert profile.cpu_time_s < profile.duration_s

    def test_eight_threads(self, client):
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            sums = list(threads.map(lambda n: sum(client.map(square, range(n))), range(100, 108)))
        assert sums == [sum(x * x for x in range(n)) for n in range(100, 108)]


class TestObjects:
    def test_large_argument_and_result(self, client):
        big = os.urandom(3 << 20)
        assert client.submit(bytes.upper, big).result(20) == big.upper()

    def test_send_object(self, client):
        reference = client.send_object(list(range(50_000)), "numbers")
        assert client.submit(len, reference).result(20) == 50_000
        assert client.submit(lambda pair: len(pair["x"]), {"x": reference}).result(20) == 50_000

    @pytest.mark.parametrize("value", [[1, 2], list(range(50_000))], ids=["small", "large"])
    def test_fetch_and_free(self, client, value):
        reference = client.send_object(value)
        first = client.fetch_object(reference)
        assert first == value
        assert client.fetch_object(reference) is not first
        client.free_object(reference)
        client.free_object(reference)  # again: nothing happens
        # Once the storage has heard of it, which is told by another connection.
        with pytest.raises(scaler.ObjectLostError):
            until(lambda: client.fetch_object(reference) is None)

    def test_what_was_sent_twice_is_freed_once(self, client):
        first, second = client.send_object([3]), client.send_object([3])
        client.free_object(first)
        assert client.fetch_object(second) == [3]

    def test_a_stored_result_is_passed_on_from_where_it_is(self, client):
        future = client.submit(bytes, 1 << 20)
        concurrent.futures.wait([future], 20)
        assert client.submit(len, future.as_argument()).result(20) == 1 << 20
        assert len(future.result(20)) == 1 << 20
        reference = future.as_argument()
        assert client.submit(len, reference).result(20) == 1 << 20  # still there, though it was fetched
        del future

        def is_gone() -> bool:
            try:
                client.fetch_object(reference)
            except scaler.ObjectLostError:
                return True
            return False

        wait_until(is_gone, "that it is freed: releases are gathered for a moment")

    def test_a_small_result_is_passed_on_as_it_came(self, client):
        future = client.submit(list, (1, 2))
        future.result(20).append(3)  # what is done to it here changes nothing
        assert client.submit(len, future.as_argument()).result(20) == 2

    def test_a_result_that_was_fetched_is_passed_on_as_it_is(self, client):
        future = client.submit(bytes, 1 << 20)
        future.result(20)
        assert client.submit(len, future.as_argument()).result(20) == 1 << 20

    def test_failures_are_not_passed_on(self, client):
        future = client.submit(fail, 3)
        future.exception(20)
        assert future.as_argument() is None

    def test_large_function_is_sent_once(self, client):
        table = os.urandom(1 << 20)
        assert client.map(functools.partial(lambda data, i: data[i], table), range(10)) == list(table[:10])


class TestEnds:
    def test_closed(self):
        with Client(n_workers=1) as client:
            assert not client.closed
        assert client.closed

    def test_pickled_client_works_in_a_task(self, client):
        assert client.submit(lambda inner: inner.submit(square, 5).result(20), client).result(20) == 25

    def test_clear(self, client, tmp_path):
        futures = [client.submit(wait_for_file, str(tmp_path / "never")) for _ in range(10)]
        client.clear()
        assert all(future.cancelled() for future in futures)
        assert client.submit(square, 3).result(20) == 9

    def test_protected(self, client):
        with Client(client.address) as other, pytest.raises(scaler.ScalerError, match="protected"):
            other.shutdown()
        assert client.submit(square, 3).result(20) == 9

    def test_after_disconnect(self, client):
        other = Client(client.address)
        other.disconnect()
        with pytest.raises(scaler.ClientClosedError):
            other.submit(square, 1)

    def test_after_fork(self, client):
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                client.submit(square, 1)
            except scaler.ClientClosedError:
                os.write(write, b"refused")
            os._exit(0)
        os.waitpid(pid, 0)
        assert os.read(read, 100) == b"refused"
        os.close(read)
        os.close(write)

    def test_custom_serializer(self, client):
        import cloudpickle

        class Reversed:
            @staticmethod
            def serialize(obj):
                return cloudpickle.dumps(obj)[::-1]

            @staticmethod
            def deserialize(data):
                return cloudpickle.loads(bytes(data)[::-1])

        with Client(client.address, serializer=Reversed()) as other:
            assert other.map(square, range(5)) == [0, 1, 4, 9, 16]

    def test_nobody_there(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            port = unused.getsockname()[1]
            with pytest.raises(scaler.ConnectionLostError, match=rf"tcp://127.0.0.1:{port}.*refused.*tried for"):
                Client(f"tcp://127.0.0.1:{port}", timeout_seconds=0.3)

    def test_somebody_else_there(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            threading.Thread(target=_answer_like_a_web_server, args=(server,), daemon=True).start()
            with pytest.raises(scaler.ConnectionLostError, match="does not speak Scaler's protocol"):
                Client(f"tcp://127.0.0.1:{server.getsockname()[1]}", timeout_seconds=0.3)

    def test_malformed_address(self):
        with pytest.raises(scaler.AddressError, match="tcp://host:port"):
            Client("localhost:8516")


def _answer_like_a_web_server(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(100)


class TestManyAtOnce:
    def test_several_clients_managers_and_workers(self, free_addresses, start):
        scheduler, storage = free_addresses
        start("scaler_cluster", "-n", "1", scheduler, "-pwc", "left")
        start("scaler_worker_manager", "baremetal_native", scheduler, "-mtc", "1", "-pwc", "right")
        start("scaler_scheduler", scheduler, "-osa", storage)
        start("scaler_object_storage_server", storage)
        clients = [Client(scheduler, timeout_seconds=20, name=f"client {i}") for i in range(3)]
        try:
            futures = [client.submit(pow, i, 2) for i in range(200) for client in clients]
            sides = [
                client.submit_verbose(os.getppid, (), {}, capabilities=[side])
                for client in clients
                for side in ("left", "right")
            ]
            assert [future.result(30) for future in futures] == [i * i for i in range(200) for _ in clients]
            workers = [future.result(30) for future in sides]
            assert workers[0] == workers[2] == workers[4] != workers[1] == workers[3] == workers[5]
        finally:
            for client in clients:
                client.disconnect()


def test_a_program_that_just_ends_is_quiet_and_leaves_no_process() -> None:
    program = (
        "import time\nfrom scaler import Client\n"
        "client = Client(n_workers=1)\nfuture = client.submit(time.sleep, 100)\nprint(client.cluster.pid)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "lost the scheduler" not in done.stderr
    assert "Traceback" not in done.stderr
    until(lambda: not psutil.pid_exists(int(done.stdout)))


def test_a_forgotten_client_ends_its_cluster() -> None:
    client = Client(n_workers=1)
    pid = client.cluster.pid
    del client
    gc.collect()
    until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_companions_of_futures(client):
    futures = [client.submit(square, n) for n in range(5)]
    assert sorted(future.result(20) for future in client.as_completed(futures)) == [0, 1, 4, 9, 16]
    done, open_ = client.wait(futures, timeout=20)
    assert len(done) == 5 and not open_
    assert client.gather({"first": futures[0], "others": futures[1:]}) == {"first": 0, "others": [1, 4, 9, 16]}


def test_a_scheduler_waits_for_workers(start):
    with Scheduler(logging_level="ERROR") as scheduler, Client(scheduler.get_address(), timeout_seconds=20) as client:
        future = client.submit(square, 3)
        assert not future.done() and "running" in repr(scheduler)
        start("scaler_cluster", "-n", "1", scheduler.get_address())
        assert future.result(30) == 9


def test_what_is_no_function_is_refused_at_the_call(client):
    for call in (client.submit, lambda it: client.map(it, [1]), lambda it: client.starmap(it, [(1,)])):
        with pytest.raises(TypeError, match="a function is expected, not 'print'"):
            call("print")


def test_a_client_with_other_versions_than_the_workers_is_warned(client, monkeypatch, caplog):
    client.submit(abs, -1).result()  # There is a worker.
    monkeypatch.setattr("scaler.client.service.software", lambda: "python=3.9.1 cloudpickle=1.0")
    with Client(client.address) as other:
        assert other.submit(abs, -1).result() == 1
    (text,) = [record.message for record in caplog.records if "other versions" in record.message]
    assert "Python 3.9.1 at the client and 3." in text and "cloudpickle 1.0 at the client" in text
