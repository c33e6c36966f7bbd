cimport cython
from cpython cimport array as c_array
from libc.stdint cimport uint32_t

from scaler._core.columns cimport Column
from scaler._core.graph cimport _Numbers


@cython.final
cdef class _Edges:
    # The two columns of a graph, found to fit together.
    cdef Column ends
    cdef Column dependencies
    cdef Py_ssize_t n

    cdef inline uint32_t start(self, Py_ssize_t node) noexcept:
        return self.ends.u32[node - 1] if node else 0

    cdef int validate(self) except -1


@cython.final
cdef class _Peel:
    # Takes nodes that nothing depends on away, again and again; what is left has a cycle.
    cdef _Edges edges
    cdef c_array.array users
    cdef c_array.array length
    cdef _Numbers order

    cdef int run(self) except -1
    cdef int refuse_cycle(self) except -1
    cdef c_array.array levels(self)
    cdef c_array.array cycle(self)
