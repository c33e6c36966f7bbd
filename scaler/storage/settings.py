"""What an object storage can be told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scaler.errors import ConfigurationError
from scaler.storage.disk import Disk, default_directory
from scaler.storage.memory import usable_bytes
from scaler.storage.mover import Copies
from scaler.storage.outputs import Adopted


@dataclass(slots=True)
class StorageSettings:
    """How much of objects is kept in memory, and where the others are."""

    memory_limit_bytes: int | None = None
    """None: half of what this process may use; 0: no limit."""
    spill_directory: str = ""
    spill_url: str = ""
    """s3://bucket/prefix, instead of a directory."""
    durable: bool = False
    """Objects outlive the server. Asks for a URL."""

    def limit(self) -> int:
        """In bytes, 0 for none."""
        return usable_bytes() // 2 if self.memory_limit_bytes is None else self.memory_limit_bytes

    def check(self) -> None:
        """Raises ConfigurationError for what cannot be had together."""
        if self.spill_url and self.spill_directory:
            raise ConfigurationError("objects are spilled to --spill-directory or to --spill-url, not to both")
        if self.durable and not self.spill_url:
            raise ConfigurationError("--durable needs --spill-url: what is spilled to a directory ends with the server")

    def copies(self) -> tuple[Copies, list[Adopted]]:
        """Where copies go, and the objects that are there already. Blocks.

        Raises ConfigurationError for a place where no copies can be, ExtraMissingError without what it takes.
        """
        self.check()
        if self.spill_url:
            from scaler.storage.s3 import S3

            s3 = S3(self.spill_url, self.durable)
            return s3, s3.prepare()
        return self._disk(), []

    def _disk(self) -> Disk:
        if not self.spill_directory:
            return Disk(default_directory())
        directory = Path(self.spill_directory)
        if not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)):
            raise ConfigurationError(f"cannot spill to {directory}: it is no directory that can be written to")
        return Disk(directory)
