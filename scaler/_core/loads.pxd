cimport cython
from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cpython cimport array as c_array


cdef struct Node:
    # One for each task index.
    uint32_t next
    uint32_t prev
    uint32_t worker
    uint32_t cost
    bint lends


cdef struct Worker:
    uint64_t backlog
    uint32_t slots
    uint32_t group
    uint32_t queue_limit
    uint32_t held
    # How many of them lend their slots.
    uint32_t lent
    # Its tasks.
    uint32_t head
    uint32_t tail
    # Its neighbours in the list of its group and level.
    uint32_t next
    uint32_t prev
    # Tasks it got in the placement pass that is under way.
    uint32_t fresh
    uint8_t level
    bint listed
    bint draining
    bint present


cdef struct Ends:
    uint32_t head
    uint32_t tail


cdef struct Group:
    Ends levels[32]
    uint32_t occupied
    # Its workers that are not draining.
    uint32_t open


cdef struct Groups:
    # What one class can run on.
    uint32_t* numbers
    size_t n


@cython.final
cdef class Loads:
    cdef Node* _nodes
    cdef size_t _size
    cdef Worker* _workers
    cdef size_t _workers_size
    cdef size_t _count
    cdef size_t _listed
    cdef uint64_t _idle
    cdef uint64_t _slots
    cdef Group* _groups
    cdef size_t _groups_size
    cdef Groups* _classes
    cdef size_t _classes_size
    cdef uint64_t _target

    cdef uint32_t best(self, uint32_t requirement_class) noexcept
    cdef bint can_take(self, uint32_t worker, uint32_t requirement_class) noexcept
    cdef bint idle_for(self, uint32_t requirement_class) noexcept
    cdef int put(self, uint32_t task, uint32_t worker, uint32_t cost) except -1
    cdef uint32_t holder(self, uint32_t task) noexcept

    cdef int grow(self, uint32_t task) except -1
    cdef int _grow_workers(self, uint32_t worker) except -1
    cdef int _grow_groups(self, uint32_t group) except -1
    cdef int _grow_classes(self, uint32_t requirement_class) except -1
    cdef Worker* _known(self, uint32_t worker) except NULL

    cdef bint _room(self, const Worker* worker) noexcept
    cdef uint8_t _level(self, const Worker* worker) noexcept
    cdef uint32_t _busy(self, const Worker* worker) noexcept
    cdef uint32_t _idle_of(self, const Worker* worker) noexcept
    cdef void _list(self, uint32_t worker) noexcept
    cdef void _unlist(self, uint32_t worker) noexcept
    cdef void _link(self, uint32_t task, uint32_t worker, uint32_t cost) noexcept
    cdef void _unlink(self, uint32_t task) noexcept
    cdef c_array.array _held_tasks(self, const Worker* worker)

    cdef int _check_worker(self, uint32_t worker) except -1
    cdef int _check_group(self, uint32_t group) except -1
