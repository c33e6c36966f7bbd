"""Large files are closed by a thread, and all of them."""

from __future__ import annotations

import os

import pytest

from scaler.storage import segments
from scaler.storage.closing import LARGE_BYTES, Closing
from scaler.storage.segments import Segment, close_now, set_close


def test_large_segments_are_closed_and_none_is_forgotten() -> None:
    closing = Closing()
    set_close(closing.close)
    try:
        small, *large = Segment.make(1), Segment.make(LARGE_BYTES), Segment.make(2 * LARGE_BYTES)
        descriptors = [segment.descriptor for segment in (small, *large)]
        del small
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptors[0])
        large.pop()
    finally:
        set_close(close_now)
        closing.end()
    for descriptor in descriptors[0], descriptors[2]:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    assert os.fstat(descriptors[1])
    closing.close(os.dup(descriptors[1]), LARGE_BYTES)  # also after the end
    assert segments._close is close_now
