import platform

import pytest

from scaler.software import MAX_SOFTWARE_BYTES, differences, software


def test_it_is_told_in_few_words():
    told = dict(word.split("=") for word in software().split())
    assert told["python"] == platform.python_version() and {"scaler", "cloudpickle"} <= told.keys()
    assert len(software().encode()) <= MAX_SOFTWARE_BYTES and differences(software(), software()) == ""


@pytest.mark.parametrize(
    ("client", "worker", "found"),
    [
        ("python=3.11.7", "python=3.11.9", ""),
        ("python=3.11.7", "python=3.12.1", "Python 3.11.7 at the client and 3.12.1 at the worker"),
        (
            "python=3.11.7 cloudpickle=3.0 scaler=1",
            "python=3.12.1 cloudpickle=3.1 scaler=1",
            "Python 3.11.7 at the client and 3.12.1 at the worker, cloudpickle 3.0 at the client and 3.1 at the worker",
        ),
        ("", "python=3.12.1", ""),
        ("node=22", "python=3.12.1", ""),
        ("nonsense =", "= nonsense", ""),
    ],
)
def test_differences(client, worker, found):
    assert differences(client, worker) == found
