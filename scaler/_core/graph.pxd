cimport cython
from cpython cimport array as c_array
from libc.stdint cimport uint8_t, uint32_t


cdef struct User:
    # A task that waits, and which of its edges this is; the task is 0xFFFFFFFF where it was removed.
    uint32_t task
    uint32_t edge


cdef struct Edge:
    # A dependency, and where its list of users names this edge; 0xFFFFFFFF for a repeat.
    uint32_t dependency
    uint32_t place


cdef struct Node:
    Edge* edges
    User* users
    uint32_t edges_n
    uint32_t missing
    uint32_t unfinished_users
    uint32_t users_n
    uint32_t users_end
    uint32_t users_room
    uint8_t finished
    uint8_t seen


@cython.final
cdef class _Numbers:
    # A growing column of u32.
    cdef uint32_t* at
    cdef Py_ssize_t n
    cdef Py_ssize_t room

    cdef int push(self, uint32_t number) except -1
    cdef c_array.array column(self)


@cython.final
cdef class Graph:
    cdef Node** _nodes
    cdef size_t _size
    cdef Py_ssize_t _n

    cdef inline Node* node_of(self, uint32_t task) noexcept:
        return self._nodes[task] if task < self._size else NULL

    cdef Node* _ensure(self, uint32_t task) except NULL
    cdef int _connect(self, uint32_t task, Node* node, uint32_t edge) except -1
    cdef int _disconnect(self, Node* node, Edge* edge) noexcept
    cdef void _compact(self, Node* node) noexcept
    cdef int _finish(self, Node* node, _Numbers ready) except -1
    cdef void _count_user(self, Node* node, int change) noexcept
    cdef int _drop_edges(self, Node* node, _Numbers unused) except -1
    cdef int _push_users(self, Node* node, _Numbers found) except -1
    cdef int _check_edges(self, uint32_t task, Node* node) except -1
    cdef int _check_users(self, uint32_t task, Node* node) except -1
