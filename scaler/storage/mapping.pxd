from libc.stdint cimport uint64_t


cdef class Mapping:
    cdef object __weakref__
    cdef void* _address
    cdef uint64_t _size


cdef class WritableMapping:
    cdef char* _address
    cdef uint64_t _size
