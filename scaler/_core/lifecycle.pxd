cimport cython
from libc.stdint cimport uint8_t, uint32_t

from scaler._core.columns cimport Column


@cython.final
cdef class Lifecycle:
    cdef uint8_t* _table
    cdef Py_ssize_t _states
    cdef Py_ssize_t _events
    cdef uint8_t* _state
    cdef uint32_t* _attempt
    cdef uint32_t _size
    cdef Py_ssize_t* _counts

    cdef inline uint8_t state_of(self, uint32_t task) noexcept:
        return self._state[task] if task < self._size else 0

    cdef inline uint32_t attempt_of(self, uint32_t task) noexcept:
        return self._attempt[task] if task < self._size else 0

    cdef int _grow(self, uint32_t task) except -1
    cdef int _grow_for(self, Column tasks) except -1
    cdef int _move(self, uint32_t task, uint8_t state) except -1
    cdef int _known_state(self, Py_ssize_t state) except -1
