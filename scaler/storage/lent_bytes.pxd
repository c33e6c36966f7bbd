from scaler.storage.mapping cimport Mapping


cdef class LentBytes:
    cdef dict _mappings
    cdef Py_ssize_t _least
    cdef Py_ssize_t _most

    cdef object _lend(self, Mapping owner, char* content, Py_ssize_t size)
