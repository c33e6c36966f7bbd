"""The page about metrics: the families that daemons serve, as their code names them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.generator import rst
from scaler.messages import Statistics
from scaler.metrics import families

PLACES = {
    "metrics/families.py": (
        "The cluster",
        "By the scheduler and the dashboard; worker managers tell the families about managers.",
    ),
    "worker/service.py": ("A worker", "By each worker, where ``--worker-metrics-address`` says."),
    "manager/service.py": ("A worker manager", "By each worker manager."),
    "web/server.py": ("The dashboard", "By ``scaler_gui``."),
    "metrics/server.py": ("Every daemon", "Together with what Prometheus' library tells of a process: ``process_…``."),
}
"""Where in the package families are made, and who serves them."""
MAKERS = {"gauge": "gauge", "GaugeMetricFamily": "gauge", "counter": "counter", "CounterMetricFamily": "counter"}
LABELS_OF_INFO = "depending on the daemon"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...] = ()


def page(package: Path) -> str:
    """The whole page."""
    parts = [
        rst.heading("Metrics"),
        "What ``/metrics`` of each daemon has; :doc:`/docs/monitoring` says how to have it served. In the text format the names"
        " of counters end with ``_total``. Sizes are in bytes, times in seconds.\n",
    ]
    for name, (title, about) in PLACES.items():
        found = sorted(made_in(package / name), key=lambda family: family.name)
        parts += [rst.heading(title, 1), about + "\n", _listed(found)]
        if name == "metrics/families.py":
            parts += [
                rst.heading("The object storage", 1),
                "By the object storage server, and the dashboard.\n",
                _listed(_objects()),
            ]
    return "\n".join(parts)


def made_in(path: Path) -> Iterator[Family]:
    """The families that a module makes by their literal names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
            texts = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
            if len(texts) >= 2:
                labels = next((word.value for word in node.keywords if word.arg == "labels"), None)
                yield Family(str(texts[0]), MAKERS[node.func.id], str(texts[1]), _labels(labels))


def _labels(node: ast.expr | None) -> tuple[str, ...]:
    if isinstance(node, ast.List):
        return tuple(str(entry.value) for entry in node.elts if isinstance(entry, ast.Constant))
    return () if node is None else (LABELS_OF_INFO,)


def _objects() -> list[Family]:
    found = families.objects(Statistics())
    return [Family(family.name, family.type, family.documentation) for family in found]


def _listed(found: list[Family]) -> str:
    return rst.definitions(
        (f"{rst.code(family.name)} {family.kind}{_by(family.labels)}", rst.escaped(family.about)) for family in found
    )


def _by(labels: tuple[str, ...]) -> str:
    if labels == (LABELS_OF_INFO,):
        return f", with labels {LABELS_OF_INFO}"
    return f" by {', '.join(map(rst.code, labels))}" if labels else ""
