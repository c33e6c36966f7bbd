cdef class Recycled:
    cdef list _held
    cdef list _rooms
    cdef Py_ssize_t _limit
    cdef readonly Py_ssize_t size

    cdef object _take(self, Py_ssize_t size)
