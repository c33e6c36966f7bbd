cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t


cdef struct Node:
    # One for each task index. Where `reserved` is set, the arrival number is that of a task that is not queued yet.
    int64_t arrival
    uint32_t next
    uint32_t prev
    uint32_t bucket
    uint32_t reserved


cdef struct Bucket:
    # Tasks of one class and priority that arrived after each other, and a node in the tree of the buckets of that class.
    # Those of one priority are told apart by `since`: no task in them arrived earlier, none later than that of the next.
    int64_t since
    uint32_t head
    uint32_t tail
    uint32_t left
    uint32_t right
    uint32_t weight
    uint32_t owner
    int32_t priority


cdef struct Line:
    # One for each class.
    uint32_t root
    uint32_t best
    size_t count


cdef struct Head:
    # The next task of a class, with all that it is compared by.
    int64_t arrival
    int32_t priority
    uint32_t owner
    uint32_t task


cdef inline bint worse(const Bucket* bucket, int32_t priority, int64_t since) noexcept nogil:
    # Whether the tasks of a bucket go after those of this priority that arrived at that time.
    return bucket.priority < priority or (bucket.priority == priority and bucket.since > since)


cdef inline bint better(const Head* a, const Head* b) noexcept nogil:
    # Whether a goes before b.
    if a.priority != b.priority:
        return a.priority > b.priority
    return a.arrival < b.arrival


@cython.final
cdef class ReadyQueues:
    cdef Node* _nodes
    cdef size_t _size
    cdef Bucket* _buckets
    cdef size_t _buckets_size
    cdef uint32_t _buckets_used
    cdef uint32_t _free
    cdef uint32_t _random
    cdef Line* _lines
    cdef size_t _lines_size
    cdef size_t _count
    cdef int64_t _newest
    cdef int64_t _oldest
    cdef int64_t _since

    cdef bint head(self, uint32_t owner, Head* out) noexcept
    cdef uint32_t take(self, uint32_t owner) noexcept

    cdef int _grow(self, uint32_t task) except -1
    cdef int _grow_lines(self, uint32_t owner) except -1
    cdef int _grow_buckets(self, size_t more) except -1
    cdef int _mark(self, const uint32_t* tasks, Py_ssize_t n) except -1
    cdef int _enter(self, const uint32_t* tasks, Py_ssize_t n, uint32_t owner) except -1

    cdef uint32_t _merge(self, uint32_t low, uint32_t high) noexcept
    cdef void _split(self, uint32_t root, int32_t priority, int64_t since, uint32_t* low, uint32_t* high) noexcept
    cdef uint32_t _find(self, uint32_t root, int32_t priority, int64_t since) noexcept
    cdef uint32_t _rightmost(self, uint32_t root) noexcept
    cdef uint32_t _new_bucket(self, uint32_t owner, int32_t priority, int64_t since) noexcept
    cdef uint32_t _bucket_for(self, uint32_t owner, int32_t priority, int64_t since) noexcept
    cdef void _drop_bucket(self, uint32_t bucket) noexcept
    cdef void _append(self, uint32_t bucket, uint32_t task, int64_t arrival) noexcept
    cdef void _unlink(self, uint32_t task) noexcept

    cdef size_t _better(self, uint32_t root, const Bucket* than) noexcept
    cdef int _check_tree(self, uint32_t root, uint32_t owner, list found) except -1
    cdef size_t _check_bucket(self, uint32_t bucket) except? 0
