cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from scaler._core.columns cimport Column


@cython.final
cdef class Slots:
    cdef uint64_t* _ids
    cdef uint8_t* _used
    cdef uint32_t* _free
    cdef size_t _free_n
    cdef size_t _size
    cdef size_t _top
    cdef uint32_t* _buckets
    cdef size_t _mask
    cdef size_t _n

    cdef uint32_t index_of(self, uint64_t id) noexcept
    cdef size_t _bucket(self, uint64_t id) noexcept
    cdef int _reserve(self, size_t more) except -1
    cdef int _reserve_dense(self, size_t size) except -1
    cdef int _rehash(self, size_t buckets) except -1
    cdef bint _insert(self, uint64_t id, uint32_t* index) noexcept
    cdef void _erase(self, uint32_t index) noexcept
    cdef int _all_used(self, Column indexes) except -1
