"""What an operator may say about policy: ``allocate=even_load; scaling=vanilla``."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.errors import ConfigurationError

ALLOCATIONS = ("even_load", "capability")
SCALINGS = ("no", "vanilla", "capability")


@dataclass(frozen=True, slots=True)
class Policy:
    """Both allocations spread tasks evenly over the workers that offer what they ask for.

    Scaling speaks to dynamic worker managers; fixed ones keep their number of slots.
    """

    allocate: str = "even_load"
    scaling: str = "vanilla"


def parse_policy(engine: str, content: str) -> Policy:
    """Raises ConfigurationError, naming the part, for a text that is no policy."""
    if engine != "simple":
        raise ConfigurationError(f"unknown policy engine {engine!r}; known: simple")
    said: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in content.split(";"))):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign:
            raise ConfigurationError(f"policy {content!r}: {part!r} is not of the form name=value")
        known = {"allocate": ALLOCATIONS, "scaling": SCALINGS}.get(name)
        if known is None:
            raise ConfigurationError(f"policy {content!r}: unknown name {name!r}; known: allocate, scaling")
        if value not in known:
            raise ConfigurationError(f"policy {content!r}: {name}={value!r} is none of {', '.join(known)}")
        said[name] = value
    return Policy(**said)
