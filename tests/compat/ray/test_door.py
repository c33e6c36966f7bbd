"""What is ours alone about the door for Ray: how it opens, what it refuses, how it becomes ``ray`` itself."""

import gc
import pickle
import subprocess
import sys

import pytest

import scaler.compat.ray as ray
from scaler import Client, errors
from scaler.compat.ray.exceptions import RayTaskError, as_ray_error

pytestmark = pytest.mark.integration


@ray.remote
def square(x):
    return x * x


@pytest.fixture
def closed():
    ray.shutdown()
    yield
    ray.shutdown()


class TestInit:
    def test_a_client(self, client, closed):
        ray.init(client=client)
        assert ray.get(square.remote(3)) == 9

    def test_an_address(self, client, closed):
        context = ray.init(client.address)
        assert context.address_info["address"] == client.address
        assert ray.get(square.remote(3)) == 9

    def test_the_environments_address(self, client, closed, monkeypatch):
        monkeypatch.setenv("SCALER_ADDRESS", client.address)
        assert ray.init("auto")["address"] == client.address
        ray.shutdown()
        assert ray.init("local", num_cpus=1)["address"] != client.address

    def test_the_first_call_opens_it(self, client, closed, monkeypatch):
        monkeypatch.setenv("SCALER_ADDRESS", client.address)
        assert not ray.is_initialized()
        assert ray.get(square.remote(3)) == 9
        assert ray.is_initialized()

    def test_as_a_context(self, client, closed):
        with ray.init(client.address):
            ref = square.remote(3)
            ray.wait([ref])
        assert not ray.is_initialized()

    def test_shutdown_ends_what_is_pending(self, closed):
        ray.init(num_cpus=1)

        @ray.remote
        def forever(_):
            import time

            time.sleep(3600)

        first = forever.remote(0)
        second = forever.remote(first)
        ray.shutdown()
        for ref in (first, second):
            with pytest.raises((ray.exceptions.TaskCancelledError, ray.exceptions.RaySystemError)):
                ray.get(ref, timeout=20)

    @pytest.mark.parametrize(
        "given",
        [{"num_gpus": 1}, {"resources": {"x": 1}}, {"runtime_env": {"pip": []}}, {"local_mode": True}],
        ids=lambda given: next(iter(given)),
    )
    def test_what_there_is_not(self, given, closed):
        with pytest.raises(ray.UnsupportedError):
            ray.init(**given)

    def test_a_ray_address(self, closed):
        with pytest.raises(ray.UnsupportedError, match="tcp://host:port"):
            ray.init("ray://head:10001")

    def test_an_unknown_parameter(self, closed):
        with pytest.raises(TypeError, match="num_cpu"):
            ray.init(num_cpu=1)


class TestRefused:
    def test_actors(self):
        with pytest.raises(ray.UnsupportedError, match="actors are not supported"):

            @ray.remote
            class Counter:
                pass

    def test_generators(self):
        with pytest.raises(ray.UnsupportedError, match="return a list"):

            @ray.remote
            def several():
                yield 1

    @pytest.mark.parametrize(
        "options",
        [
            {"num_gpus": 1},
            {"runtime_env": {"pip": ["x"]}},
            {"num_returns": "streaming"},
            {"scheduling_strategy": object()},
        ],
        ids=lambda options: next(iter(options)),
    )
    def test_options(self, options):
        with pytest.raises(ray.UnsupportedError, match=next(iter(options))):
            square.options(**options)

    @pytest.mark.parametrize(
        "options",
        [
            {"num_return": 2},
            {"num_returns": -1},
            {"max_retries": "many"},
            {"retry_exceptions": "ValueError"},
            {"retry_exceptions": [ValueError, 3]},
        ],
    )
    def test_wrong_options(self, options):
        with pytest.raises(ValueError, match=next(iter(options))):
            ray.remote(**options)(abs)

    def test_options_without_effect(self, client, closed):
        ray.init(client=client)
        assert ray.get(square.options(num_cpus=0.5, memory=1, scheduling_strategy="SPREAD").remote(2)) == 4

    @pytest.mark.parametrize("name", ["get_actor", "data", "train", "nodes", "kill"])
    def test_names(self, name):
        with pytest.raises(ray.UnsupportedError, match=name):
            getattr(ray, name)
        with pytest.raises(ray.UnsupportedError, match="placement_group"):
            ray.util.placement_group  # noqa: B018

    def test_names_that_nobody_knows(self):
        assert not hasattr(ray, "nothing")
        assert not hasattr(ray.util, "nothing")

    def test_lazy_graphs(self):
        with pytest.raises(ray.UnsupportedError, match="bind"):
            square.bind(1)


class TestObjects:
    def test_what_was_put_is_freed_with_its_last_reference(self, client, closed):
        ray.init(client=client)
        ref = ray.put(list(range(100)))
        reference = ref.source.result()
        assert client.fetch_object(reference) == list(range(100))
        del ref
        gc.collect()
        with pytest.raises(errors.ObjectLostError):
            client.fetch_object(reference)

    def test_a_large_result_stays_where_it_is_when_it_is_passed_on(self, client, closed):
        ray.init(client=client)
        make, length = ray.remote(lambda size: b"x" * size), ray.remote(len)
        ref = make.remote(1 << 20)
        assert ray.get(length.remote(ref)) == 1 << 20
        assert ref.source._read is None  # nobody has fetched it
        assert len(ray.get(ref)) == 1 << 20

    def test_capabilities_are_asked_for_by_resources(self, client, closed):
        ray.init(client=client)
        ref = square.options(resources={"nobody-has-this": 1}).remote(2)
        assert ray.wait([ref], timeout=0.1) == ([], [ref])
        ray.cancel(ref)


class TestErrors:
    @pytest.mark.parametrize("cause", [ValueError("bad"), KeyError("k"), OSError(2, "no"), StopIteration(3)])
    def test_they_travel(self, cause):
        error = as_ray_error(cause, "f")
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is type(error)
        assert isinstance(again, RayTaskError)
        assert isinstance(again, type(cause))
        assert (again.function_name, again.cause.args, again.args) == ("f", cause.args, cause.args)

    def test_a_type_that_cannot_be_inherited_from(self):
        class FinalError(Exception):
            def __init_subclass__(cls):
                raise TypeError("final")

        error = as_ray_error(FinalError("x"), "f")
        assert type(error) is RayTaskError

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (errors.TaskCrashedError("died"), ray.exceptions.WorkerCrashedError),
            (errors.TaskLostError("gone"), ray.exceptions.ObjectLostError),
            (errors.SchedulerFullError("full"), ray.exceptions.RaySystemError),
            (errors.RemoteError("m.T", "text", "trace"), RayTaskError),
        ],
    )
    def test_scalers_own(self, error, expected):
        made = as_ray_error(error, "f")
        assert isinstance(made, expected)
        assert made.__cause__ is error


PROGRAM = """
import ray
from ray.exceptions import GetTimeoutError, RayTaskError
from ray.util import as_completed
import ray.util
import module

ray.init(num_cpus=1, ignore_reinit_error=True)


@ray.remote
def local(x):
    return ray.get(ray.put(x)) + 1


print(ray.get(local.remote(1)), ray.get(module.imported.remote(5)), list(as_completed([local.remote(2)])))
ray.shutdown()
"""
MODULE = """
import ray


def helper(x):
    return isinstance(ray.put(x), ray.ObjectRef)


@ray.remote
def imported(x):
    return helper(x)
"""


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "scaler.compat.ray", "program.py"],
        ["-c", "import scaler.compat.ray.patch, runpy; runpy.run_path('program.py', run_name='__main__')"],
    ],
    ids=["command", "import"],
)
def test_programs_that_import_ray(command, tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "module.py").write_text(MODULE)
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("2 True [3]\n", 0), done.stderr


def test_a_program_may_end_without_shutdown(tmp_path):
    program = tmp_path / "program.py"
    program.write_text("""
import time
import scaler.compat.ray as ray

ray.init(num_cpus=1)
forever = ray.remote(time.sleep).remote(3600)
after = ray.remote(print).remote(forever)
print(ray.get(ray.put(1)))
""")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)


def test_install_refuses_to_take_the_place_of_ray_itself(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", object())
    with pytest.raises(RuntimeError, match="imported already"):
        ray.install()


def test_a_client_in_use_is_told_apart(closed):
    with Client(n_workers=1) as other:
        ray.init(client=other)
        with pytest.raises(RuntimeError, match="twice"):
            ray.init()
    ray.init(num_cpus=1)  # the other one was left
    assert ray.get(square.remote(2)) == 4
