"""Profiles of an executor: a thread looks, many times a second, at where the task is. It is there as long as the profile."""

from __future__ import annotations

import _thread
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from types import CodeType, FrameType

from scaler._core.claims import Claims
from scaler.messages import BeginSampling, StackSamples
from scaler.stacks import DEEPER, LONGEST_TEXT, MOST_FRAMES, Frame, Stack, StackCounts

MOST_WALKED = 20_000
"""Frames; a stack that is deeper is not counted."""


class Sampling:
    """One profile. ``said`` is told what was found, from the thread; it returns once that is on its way."""

    def __init__(
        self,
        asked: BeginSampling,
        thread: int,
        outside: CodeType,
        claims: Claims,
        function: Callable[[], str],
        said: Callable[[StackSamples], None],
    ) -> None:
        """``thread`` runs the tasks, inside of frames of the code ``outside``. ``function`` names what it runs."""
        self._asked = asked
        self._thread, self._outside = thread, outside
        self._claims = claims
        self._function = function
        self._said = said
        self._counts = StackCounts()
        self._frames: dict[CodeType, Frame] = {}
        self._ended = _thread.allocate_lock()
        self._ended.acquire()

    def start(self) -> None:
        """Also from a signal handler: this takes no lock, and ``threading`` does not know the thread."""
        _thread.start_new_thread(self._run, ())

    def end(self) -> None:
        """Before its time."""
        if self._ended.locked():
            self._ended.release()

    def _run(self) -> None:
        with suppress(OSError):  # the worker is gone, and with it this executor
            self._look_and_tell()
            self._tell(True)

    def _look_and_tell(self) -> None:
        period = 1 / self._asked.hertz
        now = time.monotonic()
        end, due, tell = now + self._asked.milliseconds / 1000, now + period, now
        while now < end:
            if self._ended.acquire(timeout=max(0.0, min(due, end) - now)):
                return
            now = time.monotonic()
            if now >= due:
                # What holds the interpreter all the time is seen late, and was there in the periods before.
                missed = (now - due) // period
                self._look(now, int(missed) + 1, period)
                due += (missed + 1) * period
            if now - tell >= self._asked.tell_milliseconds / 1000:
                tell = now
                self._tell(False)

    def _look(self, now: float, periods: int, period: float) -> None:
        frame = sys._current_frames().get(self._thread)
        stack = self._stack(frame)
        if stack is not None:
            name = self._function()
            if not self._asked.function_name or name == self._asked.function_name:
                ran = int((now - self._claims.started_us / 1e6) / period) + 1
                self._counts.add(name, stack, max(1, min(periods, ran)))

    def _stack(self, frame: FrameType | None) -> Stack | None:
        """The frames of the task that runs; None where none does."""
        codes: list[CodeType] = []
        while frame is not None and frame.f_code is not self._outside:
            codes.append(frame.f_code)
            frame = frame.f_back if len(codes) < MOST_WALKED else None
        if frame is None:
            return None
        codes.reverse()
        stack = tuple([self._frames.get(code) or self._frame(code) for code in codes[:MOST_FRAMES]])
        return stack if len(codes) <= MOST_FRAMES else (*stack[:-1], DEEPER)

    def _frame(self, code: CodeType) -> Frame:
        frame = Frame(code.co_qualname[:LONGEST_TEXT], code.co_filename[-LONGEST_TEXT:], code.co_firstlineno)
        self._frames[code] = frame
        return frame

    def _tell(self, ended: bool) -> None:
        samples = self._counts.take(self._asked.profile)
        samples.ended = ended
        self._said(samples)
