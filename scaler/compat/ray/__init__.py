"""Ray's tasks on Scaler: ``import scaler.compat.ray as ray`` instead of ``import ray``.

Programs that cannot be changed run after one import: ``import scaler.compat.ray.patch`` makes every later ``import ray``, also
in other modules and in tasks, mean this package.

There are remote functions, references, get, put, wait and cancel. Actors, placement groups, GPUs by number, runtime
environments and Ray's libraries are not there, and what asks for them raises UnsupportedError, which says what to do.
"""

from __future__ import annotations

import sys
from typing import Any

from scaler.compat.ray import completion as util
from scaler.compat.ray import exceptions
from scaler.compat.ray.exceptions import UnsupportedError
from scaler.compat.ray.function import RemoteFunction, remote
from scaler.compat.ray.reference import ObjectRef
from scaler.compat.ray.retrieval import cancel, get, put, wait
from scaler.compat.ray.session import init, is_initialized, shutdown

__all__ = [
    "ObjectRef",
    "RemoteFunction",
    "UnsupportedError",
    "cancel",
    "exceptions",
    "get",
    "init",
    "install",
    "is_initialized",
    "put",
    "remote",
    "shutdown",
    "util",
    "wait",
]

_UNSUPPORTED = {
    **dict.fromkeys(
        ["actor", "get_actor", "kill", "method", "exit_actor"],
        "actors are not supported; keep state in the program, pass it to tasks as arguments and take it from their results",
    ),
    **dict.fromkeys(
        ["air", "data", "dag", "experimental", "job_submission", "llm", "rllib", "serve", "train", "tune", "workflow"],
        "Ray's libraries are not there, only its tasks",
    ),
    **dict.fromkeys(
        ["available_resources", "cluster_resources", "nodes", "timeline", "get_gpu_ids", "get_runtime_context"],
        "look at the cluster with Scaler's monitor",
    ),
    **dict.fromkeys(
        ["cross_language", "java_function", "java_actor_class", "cpp_function"], "tasks are Python functions"
    ),
    "ObjectRefGenerator": "return a list, or several values with num_returns",
}

# ``ray.util`` is Ray's name for it, which says nothing about what is in it.
sys.modules[__name__ + ".util"] = util


def install() -> None:
    """Make ``import ray`` mean this package, in this process and in the tasks of its remote functions.

    Raises RuntimeError when Ray itself was imported before.
    """
    this = sys.modules[__name__]
    present = sys.modules.setdefault("ray", this)
    if present is not this:
        raise RuntimeError("ray was imported already; import scaler.compat.ray.patch before anything that imports ray")
    sys.modules["ray.exceptions"] = exceptions
    sys.modules["ray.util"] = util


def __getattr__(name: str) -> Any:
    if name in _UNSUPPORTED:
        raise UnsupportedError(f"ray.{name} is not supported on Scaler: {_UNSUPPORTED[name]}")
    raise AttributeError(f"module 'ray' has no attribute {name!r}")
