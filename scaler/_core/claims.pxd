cimport cython
from cpython.buffer cimport Py_buffer
from libc.stdint cimport uint64_t


@cython.final
cdef class Claims:
    cdef Py_buffer _buffer
    cdef bint _open
    cdef uint64_t* _head
    cdef uint64_t* _entries

    cdef uint64_t* _entry(self, uint64_t position) except NULL
