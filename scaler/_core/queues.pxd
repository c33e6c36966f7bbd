cimport cython
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t


cdef struct Node:
    # One for each task index. Where `reserved` is set, the arrival number is that of a task that is not queued yet.
    int64_t arrival
    uint32_t next
    uint32_t prev
    uint32_t bucket
    uint32_t reserved


cdef struct Bucket:
    # Tasks of one lane and priority that arrived after each other, and a node in the tree of the buckets of that lane.
    # Those of one priority are told apart by `since`: no task in them arrived earlier, none later than that of the next.
    int64_t since
    uint32_t head
    uint32_t tail
    uint32_t left
    uint32_t right
    uint32_t weight
    uint32_t lane
    int32_t priority


cdef struct Lane:
    # The tasks of one class and share.
    uint32_t root
    uint32_t best
    uint32_t requirement_class
    uint32_t share
    # Among the lanes that have tasks; NONE without any.
    uint32_t place
    size_t count


cdef struct Share:
    # What was placed of it since it has had tasks, from where the others were then.
    uint64_t served
    # How many shares got tasks, of those that had none, before it did.
    int64_t since
    size_t count


cdef struct Head:
    # The next task of a lane, with all that it is compared by.
    int64_t arrival
    uint64_t served
    int64_t since
    int32_t priority
    uint32_t lane
    uint32_t requirement_class
    uint32_t task


cdef inline bint worse(const Bucket* bucket, int32_t priority, int64_t since) noexcept nogil:
    # Whether the tasks of a bucket go after those of this priority that arrived at that time.
    return bucket.priority < priority or (bucket.priority == priority and bucket.since > since)


cdef inline bint better(const Head* a, const Head* b) noexcept nogil:
    # Whether a goes before b.
    if a.priority >> 6 != b.priority >> 6:
        return a.priority > b.priority
    if a.served != b.served:
        return a.served < b.served
    if a.since != b.since:
        return a.since < b.since
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
    cdef Lane* _lanes
    cdef size_t _lanes_size
    cdef Share* _shares
    cdef size_t _shares_size
    # The lanes that have tasks.
    cdef uint32_t* _active
    cdef size_t _active_count
    cdef size_t* _class_counts
    cdef size_t _classes_size
    cdef dict _lane_of
    cdef dict _share_of
    cdef list _free_lanes
    cdef list _free_shares
    cdef size_t _count
    cdef uint64_t _served
    cdef int64_t _activations
    cdef int64_t _newest
    cdef int64_t _oldest
    cdef int64_t _since

    cdef void head(self, uint32_t lane, Head* out) noexcept
    cdef uint64_t served(self, const Head* head) noexcept
    cdef bint take(self, const Head* head, uint32_t cost) noexcept

    cdef int _grow(self, uint32_t task) except -1
    cdef uint32_t _lane(self, uint32_t requirement_class, uint32_t share) except? 0xFFFFFFFF
    cdef uint32_t _new_lane(self, uint32_t requirement_class, uint32_t share) except? 0xFFFFFFFF
    cdef uint32_t _new_share(self) except? 0xFFFFFFFF
    cdef int _sweep(self) except -1
    cdef int _grow_classes(self, uint32_t requirement_class) except -1
    cdef bint _best_head(self, uint32_t requirement_class, Head* out) noexcept
    cdef void _count_in(self, uint32_t number, size_t n) noexcept
    cdef void _count_out(self, uint32_t number) noexcept
    cdef int _grow_buckets(self, size_t more) except -1
    cdef int _mark(self, const uint32_t* tasks, Py_ssize_t n) except -1
    cdef uint32_t _enter(
        self, const uint32_t* tasks, Py_ssize_t n, uint32_t requirement_class, uint32_t share
    ) except? 0xFFFFFFFF

    cdef uint32_t _merge(self, uint32_t low, uint32_t high) noexcept
    cdef void _split(self, uint32_t root, int32_t priority, int64_t since, uint32_t* low, uint32_t* high) noexcept
    cdef uint32_t _find(self, uint32_t root, int32_t priority, int64_t since) noexcept
    cdef uint32_t _rightmost(self, uint32_t root) noexcept
    cdef uint32_t _new_bucket(self, uint32_t lane, int32_t priority, int64_t since) noexcept
    cdef uint32_t _bucket_for(self, uint32_t lane, int32_t priority, int64_t since) noexcept
    cdef void _drop_bucket(self, uint32_t bucket) noexcept
    cdef void _append(self, uint32_t bucket, uint32_t task, int64_t arrival) noexcept
    cdef void _unlink(self, uint32_t task) noexcept

    cdef size_t _better(self, uint32_t root, const Bucket* than) noexcept
    cdef int _check_tree(self, uint32_t root, uint32_t lane, list found) except -1
    cdef size_t _check_bucket(self, uint32_t bucket) except? 0
