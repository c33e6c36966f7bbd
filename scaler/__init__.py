"""Scaler runs Python functions on many processes and machines.

from scaler import Client

with Client() as client:
    print(client.map(abs, range(-5, 5)))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scaler.client.client import Client as Client
    from scaler.client.future import ProfileResult as ProfileResult
    from scaler.client.future import ScalerFuture as ScalerFuture
    from scaler.client.gathering import as_completed as as_completed
    from scaler.client.gathering import gather as gather
    from scaler.client.gathering import wait as wait
    from scaler.client.object_reference import ObjectReference as ObjectReference
    from scaler.cluster.combo import SchedulerClusterCombo as SchedulerClusterCombo
    from scaler.cluster.scheduler import Scheduler as Scheduler
    from scaler.compat.executor import ScalerExecutor as ScalerExecutor
    from scaler.security import SecurityConfig as SecurityConfig
    from scaler.serialization import DefaultSerializer as DefaultSerializer
    from scaler.serialization import Serializer as Serializer

_PLACES = {
    "Client": "scaler.client.client",
    "ScalerFuture": "scaler.client.future",
    "ProfileResult": "scaler.client.future",
    "ObjectReference": "scaler.client.object_reference",
    "SchedulerClusterCombo": "scaler.cluster.combo",
    "Scheduler": "scaler.cluster.scheduler",
    "as_completed": "scaler.client.gathering",
    "gather": "scaler.client.gathering",
    "wait": "scaler.client.gathering",
    "ScalerExecutor": "scaler.compat.executor",
    "SecurityConfig": "scaler.security",
    "Serializer": "scaler.serialization",
    "DefaultSerializer": "scaler.serialization",
}
_ERRORS = (
    "AddressError",
    "ClientClosedError",
    "ClusterError",
    "ConfigurationError",
    "ConnectionLostError",
    "CycleError",
    "ExtraMissingError",
    "FunctionNotAllowedError",
    "FunctionNotFoundError",
    "GraphError",
    "MissingKeyError",
    "NotTrustedError",
    "ObjectLostError",
    "ObjectStorageError",
    "ObjectStorageFullError",
    "ProtocolError",
    "RefusedError",
    "RemoteError",
    "RemoteTraceback",
    "ScalerError",
    "SchedulerFullError",
    "SerializationError",
    "TaskCrashedError",
    "TaskError",
    "TaskLostError",
    "TaskMemoryError",
    "TaskTimeoutError",
)
__all__ = [
    "AddressError",
    "Client",
    "ClientClosedError",
    "ClusterError",
    "ConfigurationError",
    "ConnectionLostError",
    "CycleError",
    "DefaultSerializer",
    "ExtraMissingError",
    "FunctionNotAllowedError",
    "FunctionNotFoundError",
    "GraphError",
    "MissingKeyError",
    "NotTrustedError",
    "ObjectLostError",
    "ObjectReference",
    "ObjectStorageError",
    "ObjectStorageFullError",
    "ProfileResult",
    "ProtocolError",
    "RefusedError",
    "RemoteError",
    "RemoteTraceback",
    "ScalerError",
    "ScalerExecutor",
    "ScalerFuture",
    "Scheduler",
    "SchedulerClusterCombo",
    "SchedulerFullError",
    "SecurityConfig",
    "SerializationError",
    "Serializer",
    "TaskCrashedError",
    "TaskError",
    "TaskLostError",
    "TaskMemoryError",
    "TaskTimeoutError",
    "as_completed",
    "gather",
    "wait",
]


def __getattr__(name: str) -> Any:
    # Loaded when first used, so that `import scaler` costs next to nothing.
    if name == "__version__":
        from importlib.metadata import version

        return version("opengris-scaler")
    place = _PLACES.get(name) or ("scaler.errors" if name in _ERRORS else None)
    if place is None:
        raise AttributeError(f"module 'scaler' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(place), name)
    return value


def __dir__() -> list[str]:
    return list(__all__)
