"""What is said of hosts. That they are reached is tested in tests/integration."""

from __future__ import annotations

import pytest

from scaler.manager.ssh import Host, SshWorkers, host
from scaler.manager.template import WorkerTemplate


@pytest.mark.parametrize(
    ("text", "read"), [("one", ("one", 0)), ("ann@one", ("ann@one", 0)), ("ann@one=8", ("ann@one", 8))]
)
def test_hosts(text, read):
    assert host(text) == read


@pytest.mark.parametrize("text", ["", "=3", "one=", "one=0", "one=-1", "one=many", "-oProxyCommand=x"])
def test_what_is_no_host(text):
    with pytest.raises(ValueError, match="is no host; write host, user@host, or host=8"):
        host(text)


def test_what_runs_on_a_host_that_does_not_answer_is_still_offered():
    """It would be drained otherwise."""
    silent = Host("one", 8, answers=False, workers={"w": (4711, 2)})
    backend = SshWorkers(
        WorkerTemplate({}, "uvloop", ("INFO", (), None)), [silent, Host("two", 5, True)], ["ssh"], "py", 2
    )
    assert backend.most_slots == 2 + 4
    backend._sockets.cleanup()
