# cython: auto_pickle=False, autotestdict=False
"""The shared page of claims; claims.pyi has the contract."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport uint64_t, uintptr_t

cdef extern from *:
    """
    #include <stdint.h>

    static inline int swap_if(uint64_t *cell, uint64_t expected, uint64_t wanted) {
        return __atomic_compare_exchange_n(cell, &expected, wanted, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    static inline uint64_t load(const uint64_t *cell) { return __atomic_load_n(cell, __ATOMIC_SEQ_CST); }
    static inline void store(uint64_t *cell, uint64_t value) { __atomic_store_n(cell, value, __ATOMIC_SEQ_CST); }
    """
    bint swap_if(uint64_t* cell, uint64_t expected, uint64_t wanted) noexcept
    uint64_t load(const uint64_t* cell) noexcept
    void store(uint64_t* cell, uint64_t value) noexcept

cdef enum:
    # The head has a cache line of its own: position + 1 of the task that runs, or 0, and the time it was taken.
    HEAD_WORDS = 8
    RUNNING = 0
    STARTED = 1
    ENTRIES = 1024
    # An entry of zero was never offered.
    OFFERED = 1
    TAKEN = 2
    REVOKED = 3

PAGE_BYTES = (HEAD_WORDS + ENTRIES) * 8
POSITIONS = ENTRIES


cdef class Claims:
    def __cinit__(self, page):
        try:
            PyObject_GetBuffer(page, &self._buffer, PyBUF_WRITABLE)
        except BufferError as error:
            raise ValueError(f"a page of claims must be writable and contiguous: {error}") from error
        self._open = True
        if self._buffer.len < (HEAD_WORDS + ENTRIES) * 8:
            raise ValueError(f"a page of claims has {PAGE_BYTES} bytes, not {self._buffer.len}")
        if <uintptr_t>self._buffer.buf % 8:
            raise ValueError("a page of claims must be aligned to 8 bytes")
        self._head = <uint64_t*>self._buffer.buf
        self._entries = self._head + HEAD_WORDS

    def __dealloc__(self):
        if self._open:
            PyBuffer_Release(&self._buffer)

    cdef uint64_t* _entry(self, uint64_t position) except NULL:
        if position >> 62:
            raise OverflowError(f"position {position} has more than 62 bits")
        return self._entries + position % ENTRIES

    def offer(self, uint64_t position):
        """Worker: before the task is sent."""
        store(self._entry(position), position << 2 | OFFERED)

    def take(self, uint64_t position, uint64_t now_us):
        """Executor: before it runs the task."""
        cdef uint64_t* entry = self._entry(position)
        if not swap_if(entry, position << 2 | OFFERED, position << 2 | TAKEN):
            return False
        # The time comes first: who sees this position as running finds its own time, not the one before.
        store(self._head + STARTED, now_us)
        store(self._head + RUNNING, position + 1)
        return True

    def revoke(self, uint64_t position):
        """Worker: take the offer back."""
        cdef uint64_t* entry = self._entry(position)
        if swap_if(entry, position << 2 | OFFERED, position << 2 | REVOKED):
            return True
        return load(entry) == (position << 2 | REVOKED)

    def rest(self):
        """Executor: after a task."""
        store(self._head + RUNNING, 0)

    @property
    def running(self):
        """The position that runs now, or None."""
        cdef uint64_t running = load(self._head + RUNNING)
        return running - 1 if running else None

    @property
    def started_us(self):
        """The clock value of the last successful take()."""
        return load(self._head + STARTED)
