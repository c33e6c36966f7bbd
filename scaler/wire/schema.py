"""Finds and loads the schemas in ``protocol/``."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import capnp

from scaler.errors import ConfigurationError

capnp.remove_import_hook()

_PACKAGE = Path(__file__).resolve().parent.parent
PLACES = (_PACKAGE / "protocol", _PACKAGE.parent / "protocol")
"""Where the schemas may be: inside an installed package, or beside it in a checkout."""


@cache
def directory() -> Path:
    """The directory that holds the schemas. Raises ConfigurationError when there is none."""
    for place in PLACES:
        if (place / "handshake.capnp").is_file():
            return place
    raise ConfigurationError(
        f"the schemas are missing: no handshake.capnp in {' or '.join(map(str, PLACES))}; reinstall"
    )


@cache
def load(name: str) -> Any:
    """The module made of ``protocol/NAME.capnp``."""
    return capnp.load(str(directory() / f"{name}.capnp"))
