"""The same bytes are recognized, however they are cut into parts."""

from __future__ import annotations

import threading
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scaler.buffers import ALIGNMENT
from scaler.client.fingerprints import SAMPLE_BYTES, SAMPLES, Fingerprints, fingerprint, is_same

WHOLE = np.random.default_rng(1).bytes(SAMPLES * SAMPLE_BYTES * 30)


@given(st.lists(st.integers(0, len(WHOLE)), max_size=5), st.integers(0, len(WHOLE) - 1))
def test_other_bytes_are_told_apart_in_the_end(cuts: list[int], place: int) -> None:
    edges = [0, *sorted(cuts), len(WHOLE)]
    parts = [memoryview(WHOLE)[begin:end] for begin, end in pairwise(edges)]
    assert is_same(parts, WHOLE)
    other = bytearray(WHOLE)
    other[place] ^= 1
    assert not is_same(parts, other)
    assert not is_same(parts, WHOLE[:-1])
    assert is_same(parts[:-1], WHOLE) == (edges[-2] == len(WHOLE))


def test_fingerprints_differ_where_samples_do() -> None:
    assert fingerprint([WHOLE]) == fingerprint([bytearray(WHOLE)]) != fingerprint([WHOLE[:-1]])
    for place in (0, ALIGNMENT, len(WHOLE) - 1, len(WHOLE) // SAMPLES * 3):
        other = bytearray(WHOLE)
        other[place] ^= 1
        assert fingerprint([other]) != fingerprint([WHOLE])
    assert fingerprint([np.zeros(1000)]) == fingerprint([bytes(8000)])
    assert fingerprint([b""]) == fingerprint([])


def test_the_last_one_is_found_until_it_is_forgotten() -> None:
    known = Fingerprints(threading.RLock())
    known.add(b"p", b"1")
    known.add(b"p", b"2")
    known.forget(b"1")
    assert known.find(b"p") == b"2"
    known.forget(b"2")
    known.forget(b"3")
    assert known.find(b"p") is None
