"""Tasks that fail: tried again when it may help, told plainly when it does not, stopped
when they hang; and one that takes its process along."""

import os
import tempfile
import time
from pathlib import Path

from scaler import Client, TaskCrashedError, TaskTimeoutError


def fetch(directory, name):
    """A service that answers at the third call, knows no "missing", and hangs for
    "slow"."""
    if name == "missing":
        raise KeyError(name)
    if name == "slow":
        time.sleep(3600)
    if name == "crash":
        os.abort()
    calls = Path(directory, name)
    calls.write_text(calls.read_text() + "." if calls.exists() else ".")
    if len(calls.read_text()) < 3:
        raise ConnectionError(f"{name}: try again")
    return f"{name}, at call {len(calls.read_text())}"


def told(future):
    """One line for each way in which a task may end."""
    try:
        return future.result()
    except TaskTimeoutError as error:
        return f"took too long: {str(error).split('; ')[1]}"
    except TaskCrashedError as error:
        return f"its process died, {str(error).count('SIGABRT')} times by SIGABRT"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def main():
    names = "first", "second", "missing", "slow", "crash"
    with tempfile.TemporaryDirectory() as directory, Client() as client:
        futures = {
            name: client.submit_verbose(
                fetch, (directory, name), {}, retries=5, retry_on=ConnectionError, timeout=1.0, name=f"fetch {name}"
            )
            for name in names
        }
        for name, future in futures.items():
            print(f"{name}: {told(future)}")
        print("the cluster works on:", client.submit(sum, [1, 2, 3]).result())


if __name__ == "__main__":
    main()
