"""Placing ready tasks and asking tasks back; balance.pyi has the contract."""

from cpython cimport array as c_array
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, qsort

from scaler._core.columns cimport Column, column32, new32
from scaler._core.lifecycle cimport Lifecycle
from scaler._core.loads cimport Loads, Worker
from scaler._core.queues cimport Head, ReadyQueues, better

cdef uint32_t NONE = 0xFFFFFFFF

DIVISIBLE = 0xFFFFFFFF


cdef void* _memory(size_t size) except NULL:
    cdef void* new = malloc(size + 1)
    if new == NULL:
        raise MemoryError
    return new


# Placement.


cdef struct Queue:
    # The lanes of one share that some worker has room for, as a heap of their heads.
    Head* heads
    size_t n


cdef bint _earlier(const Head* a, const Head* b) noexcept nogil:
    """Whether a goes before b, both being of one share."""
    return a.priority > b.priority or (a.priority == b.priority and a.arrival < b.arrival)


cdef int _by_share(const void* a, const void* b) noexcept nogil:
    """For qsort: shares in some order, and the better heads of each first."""
    cdef const Head* left = <const Head*>a
    cdef const Head* right = <const Head*>b
    if left.since != right.since:
        return -1 if left.since < right.since else 1
    return -1 if _earlier(left, right) else 1


cdef void _sift_head(Head* heap, size_t n) noexcept:
    """Let the first head sink to where it belongs; costs two comparisons if it is there already."""
    cdef Head moving = heap[0]
    cdef size_t i = 0
    cdef size_t child = 1
    while child < n:
        if child + 1 < n and _earlier(&heap[child + 1], &heap[child]):
            child += 1
        if not _earlier(&heap[child], &moving):
            break
        heap[i] = heap[child]
        i = child
        child = 2 * i + 1
    heap[i] = moving


cdef void _sift_queue(Queue* heap, size_t n, size_t i) noexcept:
    """The same for a share among the shares."""
    cdef Queue moving = heap[i]
    cdef size_t child = 2 * i + 1
    while child < n:
        if child + 1 < n and better(heap[child + 1].heads, heap[child].heads):
            child += 1
        if not better(heap[child].heads, moving.heads):
            break
        heap[i] = heap[child]
        i = child
        child = 2 * i + 1
    heap[i] = moving


cdef size_t _gather_queues(ReadyQueues queues, Loads loads, Head* heads, Queue* heap) noexcept:
    """A heap of what the shares have that some worker has room for."""
    cdef size_t n = 0
    cdef size_t shares = 0
    cdef size_t i
    for i in range(queues._active_count):
        queues.head(queues._active[i], &heads[n])
        if loads.best(heads[n].requirement_class) != NONE:
            n += 1
    if n > 1:
        qsort(heads, n, sizeof(Head), _by_share)
    for i in range(n):
        if not i or heads[i].since != heads[i - 1].since:
            heap[shares] = Queue(&heads[i], 0)
            shares += 1
        heap[shares - 1].n += 1  # What is sorted is a heap.
    for i in range(shares // 2, 0, -1):
        _sift_queue(heap, shares, i - 1)
    return shares


cdef int _refusal(Loads loads, Column functions, Column costs, uint32_t task) except -1:
    """Raise for a task that cannot be placed by anybody, saying why."""
    if loads.holder(task) != NONE:
        raise ValueError(f"task {task} is queued, and assigned to worker {loads.holder(task)}")
    if task >= functions.n:
        raise IndexError(f"task {task} has no function in a column of {functions.n}")
    raise IndexError(f"function {functions.u32[task]} has no cost in a column of {costs.n}")


cdef bint _placeable(Loads loads, Column functions, Column costs, uint32_t task) noexcept:
    return task < functions.n and functions.u32[task] < costs.n and loads.holder(task) == NONE


cdef uint32_t _worker_for(Loads loads, Column preferred, uint32_t task, uint32_t requirement_class) noexcept:
    """The preferred worker, if that leaves no slot idle that could run the task; else the best one."""
    cdef uint32_t best = loads.best(requirement_class)
    cdef uint32_t worker = preferred.u32[task] if task < preferred.n else 0
    if best == NONE or worker == 0:
        return best
    worker -= 1
    if loads.can_take(worker, requirement_class) and (
        loads._workers[worker].level == 0 or loads._workers[best].level != 0
    ):
        return worker
    return best


cdef size_t _fill(
    ReadyQueues queues, Loads loads, Column functions, Column costs, Column own_costs, Column preferred, Queue* heap,
    size_t shares, uint32_t* order, uint32_t* divisible
) except? 0:
    """Assign until nothing fits, or the next task has to be divided first (which is put into ``divisible``).

    Returns how many workers got something, with their numbers in ``order``.
    """
    cdef size_t found = 0
    cdef uint32_t worker, task, cost
    cdef Head* head
    cdef bint more
    while shares and loads._listed:
        head = heap[0].heads
        task = head.task
        more = False
        worker = _worker_for(loads, preferred, task, head.requirement_class)
        if worker != NONE:
            if not _placeable(loads, functions, costs, task):
                if not found:
                    _refusal(loads, functions, costs, task)
                # What was placed must be told; the next pass meets this task first, and raises.
                break
            cost = own_costs.u32[task] if task < own_costs.n else 0
            if cost == 0xFFFFFFFF:
                divisible[0] = task
                break
            loads.grow(task)
            cost = cost or costs.u32[functions.u32[task]]
            more = queues.take(head, cost)
            loads.put(task, worker, cost)
            if not loads._workers[worker].fresh:
                order[found] = worker
                found += 1
            loads._workers[worker].fresh += 1
        if more:
            queues.head(head.lane, head)
        else:
            heap[0].n -= 1
            head[0] = head[heap[0].n]
        if heap[0].n:
            _sift_head(head, heap[0].n)
            head.served = queues.served(head)
        else:
            shares -= 1
            heap[0] = heap[shares]
        _sift_queue(heap, shares, 0)
    return found


cdef c_array.array _fresh_tasks(Loads loads, uint32_t number):
    """What a worker got in this pass: the last tasks that it holds."""
    cdef Worker* worker = &loads._workers[number]
    cdef c_array.array out = new32(worker.fresh)
    cdef uint32_t task = worker.tail
    while worker.fresh:
        worker.fresh -= 1
        out.data.as_uints[worker.fresh] = task
        task = loads._nodes[task].prev
    return out


def place(ReadyQueues queues not None, Loads loads not None, functions, costs, own_costs, preferred):
    """Assign ready tasks while a worker has room for them."""
    cdef Column own = column32(own_costs)
    cdef Column preferred_by = column32(preferred)
    cdef uint32_t divisible = NONE
    cdef Column function_of = column32(functions)
    cdef Column cost_of = column32(costs)
    cdef Head* heads = NULL
    cdef Queue* heap = NULL
    cdef uint32_t* order = NULL
    cdef size_t shares, found, i
    cdef list result = []
    if not queues._count or not loads._listed:
        return result, NONE
    try:
        # One more, for the head that is looked at last and not kept.
        heads = <Head*>_memory((queues._active_count + 1) * sizeof(Head))
        heap = <Queue*>_memory((queues._active_count + 1) * sizeof(Queue))
        order = <uint32_t*>_memory(loads._count * sizeof(uint32_t))
        shares = _gather_queues(queues, loads, heads, heap)
        found = _fill(queues, loads, function_of, cost_of, own, preferred_by, heap, shares, order, &divisible)
        for i in range(found):
            result.append((order[i], _fresh_tasks(loads, order[i])))
    finally:
        free(heads)
        free(heap)
        free(order)
    return result, divisible


# Asking back.


cdef struct Giver:
    uint32_t worker
    uint32_t surplus
    uint32_t slots
    # The next task to look at.
    uint32_t task
    uint32_t given


cdef bint _gives_before(const Giver* a, const Giver* b) noexcept:
    """The greater surplus per slot; the lower number among equals."""
    cdef uint64_t left = <uint64_t>a.surplus * b.slots
    cdef uint64_t right = <uint64_t>b.surplus * a.slots
    if left != right:
        return left > right
    return a.worker < b.worker


cdef void _sift_giver(Giver* givers, uint32_t* heap, size_t n, size_t i) noexcept:
    cdef uint32_t moving = heap[i]
    cdef size_t child = 2 * i + 1
    while child < n:
        if child + 1 < n and _gives_before(&givers[heap[child + 1]], &givers[heap[child]]):
            child += 1
        if not _gives_before(&givers[heap[child]], &givers[moving]):
            break
        heap[i] = heap[child]
        i = child
        child = 2 * i + 1
    heap[i] = moving


cdef uint32_t _gather_givers(Loads loads, Giver* givers) noexcept:
    """The workers that have more to do than their slots can run."""
    cdef uint32_t n = 0
    cdef size_t i
    cdef Worker* worker
    for i in range(loads._workers_size):
        worker = &loads._workers[i]
        if worker.present and loads._busy(worker) > worker.slots:
            givers[n] = Giver(<uint32_t>i, loads._busy(worker) - worker.slots, worker.slots, worker.tail, 0)
            n += 1
    return n


cdef uint32_t _next_taken(
    Loads loads, Lifecycle lifecycle, uint8_t state, Column classes, uint32_t task
) except? 0xFFFFFFFF:
    """This task, or the newest before it on the same worker, that can be asked back; NONE if there is none."""
    while task != NONE:
        if lifecycle.state_of(task) == state and not loads._nodes[task].lends:
            if task >= classes.n:
                raise IndexError(f"task {task} has no class in a column of {classes.n}")
            # The giver has no idle slot, so a worker with one is another worker.
            if loads.idle_for(classes.u32[task]):
                break
        task = loads._nodes[task].prev
    return task


cdef size_t _take_back(
    Loads loads, Lifecycle lifecycle, uint8_t state, Column classes, Giver* givers, uint32_t* heap, uint32_t n,
    uint32_t* order, uint64_t wanted
) except? 0:
    """Count what each gives; returns how many give something, with their places in ``order``."""
    cdef size_t found = 0
    cdef Giver* giver
    cdef uint32_t task
    while n and wanted:
        giver = &givers[heap[0]]
        task = _next_taken(loads, lifecycle, state, classes, giver.task)
        if task != NONE:
            if not giver.given:
                order[found] = heap[0]
                found += 1
            giver.given += 1
            giver.surplus -= 1
            giver.task = loads._nodes[task].prev
            wanted -= 1
        if task == NONE or not giver.surplus:
            n -= 1
            heap[0] = heap[n]
        _sift_giver(givers, heap, n, 0)
    return found


cdef c_array.array _given_tasks(Loads loads, Lifecycle lifecycle, uint8_t state, Column classes, const Giver* giver):
    """What a worker gives, newest first."""
    cdef c_array.array out = new32(giver.given)
    cdef uint32_t task = loads._workers[giver.worker].tail
    cdef uint32_t i
    for i in range(giver.given):
        task = _next_taken(loads, lifecycle, state, classes, task)
        out.data.as_uints[i] = task
        task = loads._nodes[task].prev
    return out


def retract(Loads loads not None, Lifecycle lifecycle not None, uint8_t state, classes, int64_t pending):
    """Choose tasks to ask back."""
    cdef Column class_of = column32(classes)
    cdef int64_t wanted = <int64_t>loads._idle - pending
    cdef Giver* givers = NULL
    cdef uint32_t* heap = NULL
    cdef uint32_t* order = NULL
    cdef uint32_t n, i
    cdef size_t found
    cdef list result = []
    if wanted <= 0:
        return result
    try:
        givers = <Giver*>_memory(loads._count * sizeof(Giver))
        heap = <uint32_t*>_memory(loads._count * sizeof(uint32_t))
        order = <uint32_t*>_memory(loads._count * sizeof(uint32_t))
        n = _gather_givers(loads, givers)
        for i in range(n):
            heap[i] = i
        for i in range(n // 2, 0, -1):
            _sift_giver(givers, heap, n, i - 1)
        found = _take_back(loads, lifecycle, state, class_of, givers, heap, n, order, <uint64_t>wanted)
        for i in range(<uint32_t>found):
            result.append(
                (givers[order[i]].worker, _given_tasks(loads, lifecycle, state, class_of, &givers[order[i]]))
            )
    finally:
        free(givers)
        free(heap)
        free(order)
    return result
