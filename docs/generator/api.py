"""The pages about the Python interface: which names stand where. What they say comes from the docstrings."""

from __future__ import annotations

import importlib
import inspect

import scaler
from docs.generator import rst
from scaler import errors

PAGES: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "client": ("Client", "Connects to a cluster, or starts one, and submits work.", ("scaler.Client",)),
    "futures": (
        "Futures and streams",
        "What calls return, and how to wait for several of them.",
        (
            "scaler.ScalerFuture",
            "scaler.ProfileResult",
            "scaler.wait",
            "scaler.as_completed",
            "scaler.gather",
            "scaler.client.stream.ItemStream",
            "scaler.client.stream.StreamTimeoutError",
        ),
    ),
    "clusters": (
        "Clusters",
        "A cluster as child processes of a program.",
        ("scaler.SchedulerClusterCombo", "scaler.Scheduler", "scaler.cluster.local.LocalCluster"),
    ),
    "objects": (
        "Objects and serializers",
        "Objects in the object storage, and how they become bytes.",
        ("scaler.ObjectReference", "scaler.Serializer", "scaler.DefaultSerializer"),
    ),
    "security": ("Security", "Where the files are by which a cluster knows its own.", ("scaler.SecurityConfig",)),
    "reports": (
        "Reports",
        "What a client's calls took.",
        (
            "scaler.client.report.Report",
            "scaler.client.report.FunctionReport",
            "scaler.client.report.SlowCall",
        ),
    ),
    "doors": (
        "Other libraries' interfaces",
        "Most of the doors of :doc:`/docs/compat`.",
        (
            "scaler.ScalerExecutor",
            "scaler.compat.multiprocessing.Pool",
            "scaler.compat.multiprocessing.AsyncResult",
            "scaler.compat.multiprocessing.IMapIterator",
            "scaler.compat.joblib.ScalerBackend",
            "scaler.compat.pytest_plugin.scaler_cluster",
            "scaler.compat.pytest_plugin.scaler_client",
        ),
    ),
    "ray": (
        "Ray's interface",
        "Tasks as programs for Ray have them: ``import scaler.compat.ray as ray``. Its errors are in"
        " ``ray.exceptions``, the last two functions in ``ray.util``.",
        (
            "scaler.compat.ray.init",
            "scaler.compat.ray.is_initialized",
            "scaler.compat.ray.shutdown",
            "scaler.compat.ray.install",
            "scaler.compat.ray.remote",
            "scaler.compat.ray.RemoteFunction",
            "scaler.compat.ray.ObjectRef",
            "scaler.compat.ray.get",
            "scaler.compat.ray.put",
            "scaler.compat.ray.wait",
            "scaler.compat.ray.cancel",
            "scaler.compat.ray.session.Context",
            "scaler.compat.ray.exceptions.UnsupportedError",
            "scaler.compat.ray.exceptions.RayError",
            "scaler.compat.ray.exceptions.RayTaskError",
            "scaler.compat.ray.exceptions.TaskCancelledError",
            "scaler.compat.ray.exceptions.GetTimeoutError",
            "scaler.compat.ray.exceptions.WorkerCrashedError",
            "scaler.compat.ray.exceptions.ObjectLostError",
            "scaler.compat.ray.exceptions.RaySystemError",
            "scaler.compat.ray.completion.as_completed",
            "scaler.compat.ray.completion.map_unordered",
        ),
    ),
}
"""File name -> title, what it is about, and the full names that it explains."""
MADE_BY_OTHERS = {
    "scaler.ScalerFuture",
    "scaler.ProfileResult",
    "scaler.client.stream.ItemStream",
    "scaler.cluster.local.LocalCluster",
    "scaler.ObjectReference",
    "scaler.client.report.Report",
    "scaler.client.report.FunctionReport",
    "scaler.client.report.SlowCall",
    "scaler.compat.multiprocessing.AsyncResult",
    "scaler.compat.multiprocessing.IMapIterator",
    "scaler.compat.ray.RemoteFunction",
    "scaler.compat.ray.ObjectRef",
    "scaler.compat.ray.session.Context",
}
"""Classes whose objects users get, and do not make."""
INTERNAL = {
    "scaler.ScalerFuture": "finish, finish_task, when_done, as_argument",
    "scaler.SecurityConfig": "completed, environment, load",
    "scaler.cluster.local.LocalCluster": "abandon, described",
    "scaler.ObjectReference": "tag",
    "scaler.compat.ray.ObjectRef": "source, outcome, carried, function_name",
}
"""Members that are public within Scaler only."""
INHERITED = {"scaler.ScalerFuture": "done, cancelled, add_done_callback"}
"""Members of the standard library's classes that users need most."""


def pages() -> dict[str, str]:
    """Name of a file -> its text. Raises LookupError for a public name that stands nowhere."""
    shown = {name for _, _, names in PAGES.values() for name in names}
    missing = [name for name in scaler.__all__ if f"scaler.{name}" not in shown and not hasattr(errors, name)]
    if missing:
        raise LookupError(f"docs/generator/api.py names no page for {', '.join(missing)} of scaler.__all__")
    texts = {f"api/{name}": _page(*page) for name, page in PAGES.items()}
    return {"api": _index(), **texts}


def _index() -> str:
    """All pages, with the names on them."""
    parts = [
        rst.heading("Python interface"),
        "What ``from scaler import …`` offers, and what it returns. Errors have :doc:`a page of their own <errors>`.\n",
        rst.contents(f"api/{name}" for name in PAGES),
    ]
    for name, (title, about, names) in PAGES.items():
        parts += [
            rst.heading(title, 1),
            f"{about} :doc:`All of it <api/{name}>`.\n",
            "".join(f"- {_summary(full)}\n" for full in names),
        ]
    return "\n".join(parts)


def _summary(full: str) -> str:
    text = inspect.getdoc(found(full)) or ""
    return f":py:obj:`~{full}`: {text.split('. ')[0].splitlines()[0].rstrip('.:')}."


def _page(title: str, about: str, names: tuple[str, ...]) -> str:
    return "\n".join([rst.heading(title), about + "\n", *map(entry, names)])


def entry(full: str) -> str:
    """What has autodoc explain a name."""
    what = found(full)
    if not inspect.isclass(what):
        return f".. autofunction:: {full}\n"
    kind = "autoexception" if issubclass(what, BaseException) else "autoclass"
    lines = [f".. {kind}:: {full}{'()' if full in MADE_BY_OTHERS else ''}"]
    if what.__bases__ != (object,):
        lines.append("   :show-inheritance:")
    if full in INTERNAL:
        lines.append(f"   :exclude-members: {INTERNAL[full]}")
    if full in INHERITED:
        lines += ["", *(f"   .. automethod:: {name.strip()}" for name in INHERITED[full].split(","))]
    return "\n".join([*lines, ""])


def found(full: str) -> object:
    """What has this full name."""
    module, _, name = full.rpartition(".")
    return getattr(importlib.import_module(module), name)
