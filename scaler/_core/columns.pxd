from libc.stdint cimport uint32_t, uint64_t

from cpython cimport array as c_array
from cpython.buffer cimport Py_buffer


cdef class Column:
    # A buffer of packed integers, held open while this lives. One of u32 and u64 is set, as asked for.
    cdef Py_buffer buffer
    cdef bint open
    cdef Py_ssize_t n
    cdef const uint32_t* u32
    cdef const uint64_t* u64


cdef Column column32(object source)
cdef Column column64(object source)
cdef c_array.array new32(Py_ssize_t n)
cdef c_array.array new64(Py_ssize_t n)
