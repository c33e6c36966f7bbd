"""What is asked for a task, and of workers, on real clusters."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration


def count(directory: str) -> int:
    """How often it was called, this time included."""
    calls = len(list(Path(directory).iterdir()))
    Path(directory, str(calls)).touch()
    return calls + 1


def fail_as(directory: str, kinds: list[type[Exception]]) -> str:
    """Raises these one after the other, then returns."""
    calls = count(directory)
    if calls <= len(kinds):
        raise kinds[calls - 1](calls)
    return f"done at call {calls}"


class TestRetries:
    def test_only_some_exceptions_count(self, client, tmp_path):
        kinds = [ConnectionResetError, TimeoutError, ValueError]
        options = {"retries": 5, "retry_on": (ConnectionError, "TimeoutError")}
        with pytest.raises(ValueError, match="3"):
            client.submit_verbose(fail_as, (str(tmp_path), kinds), {}, **options).result(20)

    def test_any_exception_counts_otherwise(self, client, tmp_path):
        kinds = [ConnectionResetError, TimeoutError, ValueError]
        future = client.submit_verbose(fail_as, (str(tmp_path), kinds), {}, retries=3)
        assert future.result(20) == "done at call 4"

    def test_retries_are_used_up(self, client, tmp_path):
        with pytest.raises(KeyError):
            client.submit_verbose(fail_as, (str(tmp_path), [KeyError] * 4), {}, retries=2, retry_on=LookupError).result(
                20
            )
        assert count(str(tmp_path)) == 4

    def test_a_class_of_a_script(self, tmp_path):
        program = f"""
from pathlib import Path
from scaler import Client

class OwnError(Exception):
    pass

class Particular(OwnError):
    pass

def fail(directory):
    calls = len(list(Path(directory).iterdir()))
    Path(directory, str(calls)).touch()
    if not calls:
        raise Particular
    return "second call"

if __name__ == "__main__":
    with Client(n_workers=1) as client:
        print(client.submit_verbose(fail, ({str(tmp_path / "calls")!r},), {{}}, retries=1, retry_on=OwnError).result(20))
"""
        (tmp_path / "calls").mkdir()
        script = tmp_path / "script.py"
        script.write_text(program)
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "second call\n"

    def test_bad_options_are_refused_where_they_are_given(self, client):
        for options, error in (
            ({"retries": -1}, ValueError),
            ({"timeout": "soon"}, TypeError),
            ({"retry_on": 5}, TypeError),
        ):
            with pytest.raises(error):
                client.submit_verbose(abs, (-1,), {}, **options)
