"""What is said of hosts. That they are reached is tested in tests/integration."""

from __future__ import annotations

import pytest

from scaler.manager.ssh import host


@pytest.mark.parametrize(
    ("text", "read"), [("one", ("one", 0)), ("ann@one", ("ann@one", 0)), ("ann@one=8", ("ann@one", 8))]
)
def test_hosts(text, read):
    assert host(text) == read


@pytest.mark.parametrize("text", ["", "=3", "one=", "one=0", "one=-1", "one=many", "-oProxyCommand=x"])
def test_what_is_no_host(text):
    with pytest.raises(ValueError, match="is no host; write host, user@host, or host=8"):
        host(text)
