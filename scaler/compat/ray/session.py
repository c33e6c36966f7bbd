"""The client behind the module: opened by init(), or by the first call that needs one."""

from __future__ import annotations

import atexit
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from scaler.client.client import Client
from scaler.cluster.local import LocalCluster
from scaler.compat.ray.exceptions import UnsupportedError

_HARMLESS = frozenset(
    [
        "configure_logging",
        "dashboard_host",
        "dashboard_port",
        "include_dashboard",
        "log_to_driver",
        "logging_config",
        "logging_format",
        "logging_level",
        "namespace",
        "object_store_memory",
        "_memory",
        "_node_ip_address",
        "_plasma_directory",
        "_system_config",
        "_temp_dir",
    ]
)
"""Parameters of Ray's init() that only say how Ray runs."""


class Session:
    """A client, and the thread that starts tasks when what they wait for has ended."""

    def __init__(self, client: Client, owned: bool = True, cluster: LocalCluster | None = None) -> None:
        self.client = client
        self._owned = owned
        self._cluster = cluster
        self.pid = os.getpid()
        # Not the client's thread: results are read and arguments are written here.
        self.starter = ThreadPoolExecutor(1, "scaler-ray-starter")
        atexit.register(self.close)  # programs may end without shutdown(), and leave in order all the same

    def close(self) -> None:
        """Leave."""
        atexit.unregister(self.close)
        if self._owned:
            self.client.disconnect()
        if self._cluster is not None:
            self._cluster.shutdown()
        self.starter.shutdown(wait=False)


_current: Session | None = None
_lock = threading.RLock()


class Context(dict[str, Any]):
    """What init() returns; ``with ray.init(): ...`` ends with shutdown()."""

    @property
    def address_info(self) -> dict[str, Any]:
        """The same, as a dict."""
        return dict(self)

    def disconnect(self) -> None:
        """As shutdown()."""
        shutdown()

    def __enter__(self) -> Context:
        return self

    def __exit__(self, *_: object) -> None:
        shutdown()


def init(
    address: str | None = None,
    *,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    resources: dict[str, float] | None = None,
    runtime_env: dict[str, Any] | None = None,
    ignore_reinit_error: bool = False,
    local_mode: bool = False,
    client: Client | None = None,
    **ignored: Any,
) -> Context:
    """Connect to a cluster, or start one.

    Args:
        address: a Scaler scheduler's, ``tcp://host:port``; ``"local"`` for a local cluster in any case; ``"auto"`` or nothing
            for what ``Client()`` finds or starts.
        num_cpus: slots of the local cluster, if one is started.
        ignore_reinit_error: return quietly if this was called before.
        client: ours: a Client to use, which stays open at shutdown().

    Ray's parameters that only say how Ray itself runs (dashboard, logging, object store, namespace) are accepted.
    Raises RuntimeError when called twice, UnsupportedError for what Scaler does not have, and what Client() raises.
    """
    global _current
    _refuse(num_gpus, resources, runtime_env, local_mode)
    unknown = ignored.keys() - _HARMLESS
    if unknown:
        raise TypeError(f"ray.init() got an unexpected keyword argument {min(unknown)!r}")
    with _lock:
        if _current is not None and not _current.client.closed:
            if not ignore_reinit_error:
                raise RuntimeError(
                    "ray.init() was called twice; call ray.shutdown() first, or give ignore_reinit_error=True"
                )
            return _context(_current)
        _current = Session(client, owned=False) if client is not None else _open(address, num_cpus)
        return _context(_current)


def _refuse(
    num_gpus: int | None, resources: dict[str, float] | None, runtime_env: dict[str, Any] | None, local_mode: bool
) -> None:
    if num_gpus or resources:
        raise UnsupportedError(
            "a cluster started by ray.init() offers slots only; start workers with --per-worker-capabilities, give init() "
            "the scheduler's address, and ask for them with resources={name: 1}"
        )
    if runtime_env:
        raise UnsupportedError("runtime_env is not supported; install what tasks need where the workers run")
    if local_mode:
        raise UnsupportedError("local_mode is not supported; init(num_cpus=1) runs one task after the other")


def _open(address: str | None, num_cpus: int | None) -> Session:
    if address and address.startswith("ray://"):
        raise UnsupportedError(f"{address} is a Ray cluster's address; give a Scaler scheduler's: tcp://host:port")
    if address == "local":
        cluster = LocalCluster(num_cpus)
        return Session(Client(cluster.address), cluster=cluster)
    return Session(Client(None if address == "auto" else address, n_workers=num_cpus))


def _context(session: Session) -> Context:
    return Context(address=session.client.address, session_name=session.client.identity.hex())


def current() -> Session:
    """The session; opened now if there is none, as Ray does."""
    global _current
    with _lock:
        if _current is None or _current.client.closed or _current.pid != os.getpid():
            _current = _open(None, None)
        return _current


def is_initialized() -> bool:
    """Whether init() was called, or something that needs it."""
    return _current is not None and not _current.client.closed


def shutdown(_exiting_interpreter: bool = False) -> None:
    """Leave; what has not ended is cancelled (unless init() was given a Client), and a local cluster that init() started ends."""
    global _current
    with _lock:
        session, _current = _current, None
    if session is not None:
        session.close()
