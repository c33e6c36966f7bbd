"""Requirement classes: what tasks ask for and workers offer, as small integers, so that cost follows the number of kinds."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

from scaler._core.loads import Loads


class Requirements:
    """Interns the capability sets of tasks (classes) and of workers (groups), and tells Loads which go together."""

    def __init__(self, loads: Loads) -> None:
        self._loads = loads
        self._classes: dict[frozenset[str], int] = {}
        self._groups: dict[frozenset[str], int] = {}
        self._needs: list[frozenset[str]] = []
        self._offers: list[frozenset[str]] = []

    def class_of(self, capabilities: Iterable[str]) -> int:
        """The class of tasks that ask for these."""
        key = frozenset(capabilities)
        known = self._classes.get(key)
        if known is None:
            known = self._classes[key] = len(self._needs)
            self._needs.append(key)
            self._connect(known)
        return known

    def group_of(self, capabilities: Iterable[str]) -> int:
        """The group of workers that offer these."""
        key = frozenset(capabilities)
        known = self._groups.get(key)
        if known is None:
            known = self._groups[key] = len(self._offers)
            self._offers.append(key)
            for requirement_class in range(len(self._needs)):
                self._connect(requirement_class)
        return known

    def needs(self, requirement_class: int) -> frozenset[str]:
        """What tasks of this class ask for."""
        return self._needs[requirement_class]

    def _connect(self, requirement_class: int) -> None:
        """A class runs where everything it asks for is offered; where least else is offered first."""
        needs = self._needs[requirement_class]
        fitting = [group for group, offers in enumerate(self._offers) if needs <= offers]
        fitting.sort(key=lambda group: len(self._offers[group]))
        self._loads.set_classes(requirement_class, array("I", fitting))
