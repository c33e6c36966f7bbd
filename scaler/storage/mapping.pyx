# cython: auto_pickle=False, autotestdict=False
"""Pieces of files as one run of memory; mapping.pyi has the contract."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release, PyObject_GetBuffer
from libc.errno cimport errno
from libc.stdint cimport uint64_t, uintptr_t
from libc.string cimport memcmp, memcpy
from posix.mman cimport MAP_ANONYMOUS, MAP_FAILED, MAP_FIXED, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap
from posix.unistd cimport _SC_PAGESIZE, sysconf

import os

cdef extern from *:
    """
    #include <sys/mman.h>
    #ifndef MAP_POPULATE
    #define MAP_POPULATE 0
    #endif
    """
    const int MAP_POPULATE

cdef enum:
    LONG = 4 << 20  # Other threads go on meanwhile; for less it would cost more than it gives them.

PAGE = sysconf(_SC_PAGESIZE)


cdef class Mapping:
    def __cinit__(self, pieces):
        cdef uint64_t total = 0, page = PAGE, offset, length
        cdef int descriptor
        cdef void* place
        last = len(pieces) - 1
        for i, (descriptor, offset, length) in enumerate(pieces):
            if offset % page or not length or (i < last and length % page):
                raise ValueError(f"piece {i} of {length} bytes at {offset} does not consist of whole pages")
            if length > <uint64_t>1 << 56 or offset > <uint64_t>1 << 56:
                raise ValueError(f"piece {i} of {length} bytes at {offset} is too large to be mapped")
            total += length
        if not total:
            raise ValueError("there are no bytes to map")
        # One reservation that the pieces are put into, so that they lie one after the other. Behind the last one is one byte
        # more, and all is private to this process, for LentBytes.
        place = mmap(NULL, total + 1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        if place == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self._address = place
        self._size = total
        total = 0
        for descriptor, offset, length in pieces:
            if mmap(<char*>place + total, length, PROT_READ, MAP_PRIVATE | MAP_FIXED, descriptor, offset) == MAP_FAILED:
                raise OSError(errno, os.strerror(errno))
            total += length

    def __dealloc__(self):
        if self._address != NULL:
            munmap(self._address, self._size + 1)

    def __len__(self):
        return self._size

    def __getbuffer__(self, Py_buffer* view, int flags):
        PyBuffer_FillInfo(view, self, self._address, self._size, 1, flags)

    @property
    def view(self):
        """The bytes."""
        return memoryview(self)

    @property
    def address(self):
        """Where it begins."""
        return <uintptr_t>self._address


cdef class WritableMapping:
    def __cinit__(self, int descriptor, uint64_t size):
        cdef void* place
        if not 0 < size <= <uint64_t>1 << 56:
            raise ValueError(f"{size} bytes cannot be mapped")
        place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, descriptor, 0)
        if place == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        self._address, self._size = <char*>place, size

    def __dealloc__(self):
        if self._address != NULL:
            munmap(self._address, self._size)

    def write(self, part, uint64_t offset, /):
        cdef Py_buffer buffer
        PyObject_GetBuffer(part, &buffer, PyBUF_SIMPLE)
        try:
            if offset > self._size or <uint64_t>buffer.len > self._size - offset:
                raise ValueError(f"{buffer.len} bytes at {offset} are more than {self._size}")
            if buffer.len < LONG:
                memcpy(self._address + offset, buffer.buf, buffer.len)
            else:
                with nogil:
                    memcpy(self._address + offset, buffer.buf, buffer.len)
        finally:
            PyBuffer_Release(&buffer)


def same(left, right, /):
    """Whether two buffers hold the same bytes."""
    cdef Py_buffer first, second
    cdef int order
    PyObject_GetBuffer(left, &first, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(right, &second, PyBUF_SIMPLE)
        try:
            if first.len != second.len:
                return False
            with nogil:
                order = memcmp(first.buf, second.buf, first.len)
            return order == 0
        finally:
            PyBuffer_Release(&second)
    finally:
        PyBuffer_Release(&first)


def address_of(buffer, /):
    """Where a buffer begins."""
    cdef Py_buffer view
    PyObject_GetBuffer(buffer, &view, PyBUF_SIMPLE)
    address = <uintptr_t>view.buf
    PyBuffer_Release(&view)
    return address
