"""How a client comes by the service that it speaks through."""

from __future__ import annotations

from typing import TYPE_CHECKING

from scaler.client.nested import nested_service
from scaler.client.service import ClientService
from scaler.ids import Address
from scaler.nesting import running
from scaler.security import Security
from scaler.serialization import DefaultSerializer, Serializer

if TYPE_CHECKING:
    from scaler.client.successor import Successor


def service_for(
    address: str,
    timeout: float,
    heartbeat: float,
    serializer: Serializer | None,
    storage: str | None,
    name: str | None,
    stream_output: bool,
    security: Security,
    successor: Successor | None = None,
) -> ClientService:
    """A connection of its own, or inside a task a share of the one that its process has."""
    scheduler, serializer = Address.parse(address), serializer or DefaultSerializer()
    storage_address = Address.parse(storage) if storage else None

    def make() -> ClientService:
        return ClientService(
            scheduler, storage_address, serializer, name or "", heartbeat, timeout, stream_output, security, successor
        )

    if running.task and successor is None:
        # What tasks inside of a task print goes the same way as what that one prints.
        stream_output = stream_output or running.streams_output
        return nested_service(scheduler, storage_address, serializer, stream_output, security, make)
    return make()
