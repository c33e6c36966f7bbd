"""What an object storage can be told."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from scaler.errors import ConfigurationError
from scaler.storage.disk import Disk, default_directory
from scaler.storage.memory import usable_bytes
from scaler.storage.mover import Copies


@dataclass(slots=True)
class StorageSettings:
    """How much of objects is kept in memory, and where the others are."""

    memory_limit_bytes: int | None = None
    """None: half of what this process may use; 0: no limit."""
    spill_directory: str = ""

    def limit(self) -> int:
        """In bytes, 0 for none."""
        return usable_bytes() // 2 if self.memory_limit_bytes is None else self.memory_limit_bytes

    def copies(self) -> Copies:
        """Raises ConfigurationError for a place where no copies can be."""
        if not self.spill_directory:
            return Disk(default_directory())
        directory = Path(self.spill_directory)
        if not (directory.is_dir() and os.access(directory, os.W_OK | os.X_OK)):
            raise ConfigurationError(f"cannot spill to {directory}: it is no directory that can be written to")
        return Disk(directory)
