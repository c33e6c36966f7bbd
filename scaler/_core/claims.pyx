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
    # Of the range that runs: the low 16 bits of its position, its next item, its end.
    ITEMS = 2
    ENTRIES = 1024
    # An entry of zero was never offered.
    OFFERED = 1
    TAKEN = 2
    REVOKED = 3

cdef int TAG_SHIFT = 48
cdef int NEXT_SHIFT = 24
cdef uint64_t LOW24 = (1 << 24) - 1

PAGE_BYTES = (HEAD_WORDS + ENTRIES) * 8
POSITIONS = ENTRIES
MOST_ITEMS = (1 << 24) - 1


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
        store(self._head + ITEMS, 0)

    def open_range(self, uint64_t position, uint64_t count):
        """Executor: the position that runs is a range."""
        if not 1 <= count <= LOW24:
            raise OverflowError(f"a range has 1 to {LOW24} items, not {count}")
        store(self._head + ITEMS, position << TAG_SHIFT | count)

    def take_item(self, uint64_t now_us):
        """Executor: before it runs the next item."""
        cdef uint64_t* cell = self._head + ITEMS
        cdef uint64_t seen = load(cell)
        while (seen >> NEXT_SHIFT & LOW24) < (seen & LOW24):
            if swap_if(cell, seen, seen + (<uint64_t>1 << NEXT_SHIFT)):
                store(self._head + STARTED, now_us)
                return True
            seen = load(cell)
        return False

    def trim(self, uint64_t position):
        """Worker: take back the items that have not begun."""
        cdef uint64_t* cell = self._head + ITEMS
        cdef uint64_t seen = load(cell)
        cdef uint64_t begun
        while seen and seen >> TAG_SHIFT == position & 0xFFFF:
            begun = seen >> NEXT_SHIFT & LOW24
            if swap_if(cell, seen, (seen & ~LOW24) | begun):
                return begun
            seen = load(cell)
        return None

    def item(self, uint64_t position):
        """Worker: the item that runs."""
        cdef uint64_t seen = load(self._head + ITEMS)
        cdef uint64_t begun = seen >> NEXT_SHIFT & LOW24
        if not seen or seen >> TAG_SHIFT != position & 0xFFFF or not begun:
            return 0
        return begun - 1

    @property
    def running(self):
        """The position that runs now, or None."""
        cdef uint64_t running = load(self._head + RUNNING)
        return running - 1 if running else None

    @property
    def started_us(self):
        """The clock value of the last successful take()."""
        return load(self._head + STARTED)
