"""What tasks print appears at their client, before their results."""

import os
import subprocess
import sys
import time

import pytest

from scaler import Client, TaskCrashedError

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def watching():
    """A client that sees what its tasks print, with a cluster of one slot."""
    with Client(n_workers=1, stream_output=True, timeout_seconds=20) as client:
        yield client


def speak(text: str) -> str:
    print(f"out {text}")
    print(f"error {text}", file=sys.stderr)
    return text


def test_it_is_there_with_the_result(watching, capfd):
    for number in range(20):
        watching.submit(speak, str(number)).result(20)
        said = capfd.readouterr()
        assert said.out == f"out {number}\n" and said.err == f"error {number}\n"


def test_also_of_maps_and_graphs(watching, capfd):
    watching.map(speak, "abc")
    assert capfd.readouterr().out == "out a\nout b\nout c\n"
    list(watching.imap(speak, "de"))
    watching.get({"x": (speak, "f"), "y": (speak, "x")}, ["y"])
    assert capfd.readouterr().out == "out d\nout e\nout f\nout f\n"


def speak_below_python() -> None:
    sys.stdout.write("python, ")
    os.write(1, b"a system call, ")
    subprocess.run(["echo", "a child"], check=True)
    sys.stdout.write("no end of line")


def test_whoever_prints(watching, capfd):
    watching.submit(speak_below_python).result(20)
    assert capfd.readouterr().out == "python, a system call, a child\nno end of line"


def say_then_wait(seconds: float) -> None:
    print("begun", end="", flush=True)
    time.sleep(seconds)


def test_while_the_task_runs(watching, capfd):
    future = watching.submit(say_then_wait, 60)
    out = ""
    while "begun" not in out:
        time.sleep(0.05)
        out += capfd.readouterr().out
    assert not future.done()
    future.cancel()


def test_each_client_sees_its_own(watching, tmp_path):
    program = """
import sys
from scaler import Client
from tests.integration.test_output import speak
with Client(sys.argv[1], stream_output=sys.argv[2] == "yes") as client:
    for number in range(30):
        client.submit(speak, sys.argv[2] + str(number)).result(20)
"""
    commands = [[sys.executable, "-c", program, watching.address, wants] for wants in ("yes", "no")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert said == ["".join(f"out yes{number}\n" for number in range(30)), ""]


def last_words() -> None:
    os.write(2, b"last words\n")
    os._exit(3)


def test_the_last_words_of_a_crash(watching, capfd):
    with pytest.raises(TaskCrashedError, match="last words"):
        watching.submit(last_words).result(30)
    assert "last words\n" in capfd.readouterr().err


def speak_inside(client: Client, depth: int) -> int:
    print("depth", depth)
    return depth and client.submit(speak_inside, client, depth - 1).result(20)


def speak_in_own_client(text: str) -> None:
    with Client() as client:
        client.submit(speak, text).result(20)


def test_of_tasks_inside_tasks(watching, capfd):
    watching.submit(speak_inside, watching, 2).result(20)
    assert capfd.readouterr().out == "depth 2\ndepth 1\ndepth 0\n"
    watching.submit(speak_in_own_client, "inside").result(20)
    assert capfd.readouterr().out == "out inside\n"


def speak_much(lines: int) -> None:
    for number in range(lines):
        print(f"{number:08d}", "x" * 90)


def test_much_of_it(watching, capfd):
    watching.submit(speak_much, 30_000).result(60)
    lines = capfd.readouterr().out.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(30_000))
