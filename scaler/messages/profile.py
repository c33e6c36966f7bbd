"""The structs of ``protocol/profile.capnp``, which says what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field

from scaler.ids import Column


@dataclass(slots=True)
class BeginSampling:
    profile: int
    milliseconds: int
    hertz: int
    tell_milliseconds: int
    slots: Column = b""
    function_name: str = ""


@dataclass(slots=True)
class EndSampling:
    profile: int


@dataclass(slots=True)
class StackSamples:
    profile: int = 0
    function_names: list[str] = field(default_factory=list)
    frame_names: list[str] = field(default_factory=list)
    frame_files: list[str] = field(default_factory=list)
    frame_lines: Column = b""
    functions: Column = b""
    stack_ends: Column = b""
    stacks: Column = b""
    counts: Column = b""
    left_out: int = 0
    ended: bool = False
    executors: int = 0
    executors_lost: int = 0
    executors_silent: int = 0
