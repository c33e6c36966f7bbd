"""What workers hold and which has room; loads.pyi has the contract."""

from cpython cimport array as c_array
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

from scaler._core.columns cimport Column, column32, new32

cdef extern from *:
    int lowest_bit "__builtin_ctz"(unsigned int) noexcept

cdef uint32_t NONE = 0xFFFFFFFF
cdef int _LEVELS = 32
# Keeps 30 times slots times target (a u32) within 64 bits.
cdef uint32_t _MOST_SLOTS = 1 << 26


cdef void* _resized(void* old, size_t size) except NULL:
    cdef void* new = realloc(old, size)
    if new == NULL:
        raise MemoryError
    return new


cdef size_t _roomier(size_t size, uint32_t index) except 0:
    """The size that a table gets when it has to hold this index."""
    if index == NONE:
        raise IndexError("0xFFFFFFFF is no index")
    return max(<size_t>index + 1, size * 2, <size_t>16)


cdef class Loads:
    def __cinit__(self, uint32_t target_us):
        if not target_us:
            raise ValueError("target_us must be positive")
        self._target = target_us

    def __dealloc__(self):
        cdef size_t i
        for i in range(self._classes_size):
            free(self._classes[i].numbers)
        free(self._classes)
        free(self._groups)
        free(self._workers)
        free(self._nodes)

    # Room for more.

    cdef int grow(self, uint32_t task) except -1:
        """Make room for this task."""
        cdef size_t i, size
        if task < self._size:
            return 0
        size = _roomier(self._size, task)
        self._nodes = <Node*>_resized(self._nodes, size * sizeof(Node))
        for i in range(self._size, size):
            self._nodes[i].worker = NONE
        self._size = size
        return 0

    cdef int _grow_workers(self, uint32_t worker) except -1:
        """Make room for this worker."""
        cdef size_t size
        if worker < self._workers_size:
            return 0
        size = _roomier(self._workers_size, worker)
        self._workers = <Worker*>_resized(self._workers, size * sizeof(Worker))
        memset(self._workers + self._workers_size, 0, (size - self._workers_size) * sizeof(Worker))
        self._workers_size = size
        return 0

    cdef int _grow_groups(self, uint32_t group) except -1:
        """Make room for this group."""
        cdef size_t i, size
        if group < self._groups_size:
            return 0
        size = _roomier(self._groups_size, group)
        self._groups = <Group*>_resized(self._groups, size * sizeof(Group))
        for i in range(self._groups_size, size):
            memset(self._groups[i].levels, 0xFF, sizeof(self._groups[i].levels))
            self._groups[i].occupied = 0
            self._groups[i].open = 0
        self._groups_size = size
        return 0

    cdef int _grow_classes(self, uint32_t requirement_class) except -1:
        """Make room for this class."""
        cdef size_t size
        if requirement_class < self._classes_size:
            return 0
        size = _roomier(self._classes_size, requirement_class)
        self._classes = <Groups*>_resized(self._classes, size * sizeof(Groups))
        memset(self._classes + self._classes_size, 0, (size - self._classes_size) * sizeof(Groups))
        self._classes_size = size
        return 0

    cdef Worker* _known(self, uint32_t worker) except NULL:
        if worker >= self._workers_size or not self._workers[worker].present:
            raise ValueError(f"there is no worker {worker}")
        return &self._workers[worker]

    # Room and levels.

    cdef uint32_t _busy(self, const Worker* worker) noexcept:
        """Its tasks that do not lend their slots."""
        return worker.held - worker.lent

    cdef bint _room(self, const Worker* worker) noexcept:
        """Whether it may have one more task."""
        cdef uint64_t slots = worker.slots
        cdef uint32_t busy = self._busy(worker)
        if worker.draining:
            return False
        if busy < 2 * slots:
            return True
        return worker.backlog < slots * self._target and busy < slots + worker.queue_limit

    cdef uint8_t _level(self, const Worker* worker) noexcept:
        """How busy it is, 0 to 31."""
        cdef uint64_t full = worker.slots * self._target
        if self._busy(worker) < worker.slots:
            return 0
        if worker.backlog >= full:
            return 31
        return <uint8_t>(1 + worker.backlog * 30 // full)

    cdef uint32_t _idle_of(self, const Worker* worker) noexcept:
        """Its slots that count as idle."""
        cdef uint32_t busy = self._busy(worker)
        return worker.slots - busy if busy < worker.slots and not worker.draining else 0

    cdef void _list(self, uint32_t number) noexcept:
        """Count its idle slots, and put it last among its equals if it has room."""
        cdef Worker* worker = &self._workers[number]
        cdef Ends* ends
        self._idle += self._idle_of(worker)
        worker.level = self._level(worker)
        worker.listed = self._room(worker)
        if not worker.listed:
            return
        ends = &self._groups[worker.group].levels[worker.level]
        worker.next = NONE
        worker.prev = ends.tail
        if ends.tail == NONE:
            ends.head = number
            self._groups[worker.group].occupied |= <uint32_t>1 << worker.level
        else:
            self._workers[ends.tail].next = number
        ends.tail = number
        self._listed += 1

    cdef void _unlist(self, uint32_t number) noexcept:
        """Undo _list, before anything changes that it depends on."""
        cdef Worker* worker = &self._workers[number]
        cdef Ends* ends
        self._idle -= self._idle_of(worker)
        if not worker.listed:
            return
        ends = &self._groups[worker.group].levels[worker.level]
        if worker.prev == NONE:
            ends.head = worker.next
        else:
            self._workers[worker.prev].next = worker.next
        if worker.next == NONE:
            ends.tail = worker.prev
        else:
            self._workers[worker.next].prev = worker.prev
        if ends.head == NONE:
            self._groups[worker.group].occupied &= ~(<uint32_t>1 << worker.level)
        worker.listed = False
        self._listed -= 1

    # Workers.

    def add_worker(self, uint32_t worker, uint32_t slots, uint32_t group, uint32_t queue_limit):
        """Begin to know a worker."""
        cdef Worker* new
        if worker < self._workers_size and self._workers[worker].present:
            raise ValueError(f"worker {worker} is known already")
        if not 1 <= slots <= _MOST_SLOTS:
            raise ValueError(f"a worker has 1 to {_MOST_SLOTS} slots, not {slots}")
        self._grow_groups(group)
        self._grow_workers(worker)
        new = &self._workers[worker]
        memset(new, 0, sizeof(Worker))
        new.slots = slots
        new.group = group
        new.queue_limit = queue_limit
        new.head = NONE
        new.tail = NONE
        new.present = True
        self._count += 1
        self._slots += slots
        self._groups[group].open += 1
        self._list(worker)

    def remove_worker(self, uint32_t worker):
        """Forget a worker and unassign its tasks."""
        cdef Worker* gone = self._known(worker)
        cdef c_array.array tasks = self._held_tasks(gone)
        cdef uint32_t i
        self._unlist(worker)
        for i in range(gone.held):
            self._nodes[tasks.data.as_uints[i]].worker = NONE
        if not gone.draining:
            self._groups[gone.group].open -= 1
        gone.present = False
        self._count -= 1
        self._slots -= gone.slots
        return tasks

    def drain(self, uint32_t worker):
        """Give this worker nothing more."""
        cdef Worker* known = self._known(worker)
        if known.draining:
            return
        self._unlist(worker)
        known.draining = True
        self._groups[known.group].open -= 1
        self._list(worker)

    # Classes.

    def set_classes(self, uint32_t requirement_class, groups):
        """Say on which groups a class can run."""
        cdef Column given = column32(groups)
        cdef Groups* known
        cdef uint32_t* numbers
        cdef Py_ssize_t i
        for i in range(given.n):
            self._grow_groups(given.u32[i])
        self._grow_classes(requirement_class)
        known = &self._classes[requirement_class]
        numbers = <uint32_t*>malloc((given.n + 1) * sizeof(uint32_t))
        if numbers == NULL:
            raise MemoryError
        if given.n:
            memcpy(numbers, given.u32, given.n * sizeof(uint32_t))
        free(known.numbers)
        known.numbers = numbers
        known.n = given.n

    def runnable(self, uint32_t requirement_class):
        """Whether a worker can run this class, be it now or later."""
        cdef Groups* groups
        cdef size_t i
        if requirement_class < self._classes_size:
            groups = &self._classes[requirement_class]
            for i in range(groups.n):
                if self._groups[groups.numbers[i]].open:
                    return True
        return False

    cdef bint idle_for(self, uint32_t requirement_class) noexcept:
        """Whether a worker with an idle slot can run this class."""
        cdef Groups* groups
        cdef size_t i
        if requirement_class < self._classes_size:
            groups = &self._classes[requirement_class]
            for i in range(groups.n):
                if self._groups[groups.numbers[i]].occupied & 1:
                    return True
        return False

    cdef bint can_take(self, uint32_t number, uint32_t requirement_class) noexcept:
        """Whether this worker, which may be unknown, has room and can run this class."""
        cdef Groups* groups
        cdef size_t i
        if number >= self._workers_size or not self._workers[number].present or not self._workers[number].listed:
            return False
        if requirement_class < self._classes_size:
            groups = &self._classes[requirement_class]
            for i in range(groups.n):
                if groups.numbers[i] == self._workers[number].group:
                    return True
        return False

    cdef uint32_t best(self, uint32_t requirement_class) noexcept:
        """The worker for the next task of the class, NONE if none has room."""
        cdef Groups* groups
        cdef Group* group
        cdef Group* chosen = NULL
        cdef int lowest = _LEVELS
        cdef int level
        cdef size_t i
        if requirement_class >= self._classes_size:
            return NONE
        groups = &self._classes[requirement_class]
        for i in range(groups.n):
            group = &self._groups[groups.numbers[i]]
            if not group.occupied:
                continue
            level = lowest_bit(group.occupied)
            if level < lowest:
                lowest = level
                chosen = group
                if not level:
                    break
        return NONE if chosen == NULL else chosen.levels[lowest].head

    def choose(self, uint32_t requirement_class):
        """The worker for the next task of the class."""
        return self.best(requirement_class)

    # Tasks.

    cdef uint32_t holder(self, uint32_t task) noexcept:
        """The worker of a task, NONE if it is not assigned."""
        return self._nodes[task].worker if task < self._size else NONE

    cdef void _link(self, uint32_t task, uint32_t number, uint32_t cost) noexcept:
        """Add a task of the table to a worker."""
        cdef Worker* worker = &self._workers[number]
        self._nodes[task] = Node(NONE, worker.tail, number, cost, False)
        if worker.tail == NONE:
            worker.head = task
        else:
            self._nodes[worker.tail].next = task
        worker.tail = task
        worker.held += 1
        worker.backlog += cost

    cdef void _unlink(self, uint32_t task) noexcept:
        """Take an assigned task from its worker."""
        cdef Node* node = &self._nodes[task]
        cdef Worker* worker = &self._workers[node.worker]
        if node.prev == NONE:
            worker.head = node.next
        else:
            self._nodes[node.prev].next = node.next
        if node.next == NONE:
            worker.tail = node.prev
        else:
            self._nodes[node.next].prev = node.prev
        worker.held -= 1
        if node.lends:
            worker.lent -= 1
        else:
            worker.backlog -= node.cost
        node.worker = NONE

    cdef int put(self, uint32_t task, uint32_t worker, uint32_t cost) except -1:
        """Assign a task that is not assigned to a worker that is known."""
        self.grow(task)
        self._unlist(worker)
        self._link(task, worker, cost)
        self._list(worker)
        return 0

    def assign(self, uint32_t task, uint32_t worker, uint32_t cost_us):
        """Assign a task to a worker."""
        self._known(worker)
        if self.holder(task) != NONE:
            raise ValueError(f"task {task} is assigned already, to worker {self.holder(task)}")
        self.put(task, worker, cost_us)

    def set_lending(self, uint32_t task, bint lends):
        """Say whether a task lends its slot."""
        cdef uint32_t number = self.holder(task)
        cdef Worker* worker
        if number == NONE:
            raise ValueError(f"task {task} is not assigned, and has no slot to lend")
        if self._nodes[task].lends == lends:
            return
        worker = &self._workers[number]
        self._unlist(number)
        self._nodes[task].lends = lends
        if lends:
            worker.lent += 1
            worker.backlog -= self._nodes[task].cost
        else:
            worker.lent -= 1
            worker.backlog += self._nodes[task].cost
        self._list(number)

    def lends(self, uint32_t task):
        """Whether a task lends its slot."""
        return self.holder(task) != NONE and self._nodes[task].lends

    def release(self, tasks):
        """Unassign these tasks."""
        cdef Column chosen = column32(tasks)
        cdef uint32_t worker
        cdef Py_ssize_t i
        for i in range(chosen.n):
            worker = self.holder(chosen.u32[i])
            if worker != NONE:
                self._unlist(worker)
                self._unlink(chosen.u32[i])
                self._list(worker)

    def worker_of(self, uint32_t task):
        """The worker of a task."""
        return self.holder(task)

    def foreign(self, uint32_t worker, tasks):
        """The positions of tasks that this worker does not hold."""
        cdef Column chosen = column32(tasks)
        cdef c_array.array out = new32(chosen.n)
        cdef Py_ssize_t found = 0
        cdef Py_ssize_t i
        for i in range(chosen.n):
            # Worker NONE holds nothing, and unassigned tasks are not its own.
            if worker == NONE or self.holder(chosen.u32[i]) != worker:
                out.data.as_uints[found] = <uint32_t>i
                found += 1
        if found < chosen.n:
            c_array.resize(out, found)
        return out

    cdef c_array.array _held_tasks(self, const Worker* worker):
        """Its tasks, first assigned first."""
        cdef c_array.array out = new32(worker.held)
        cdef uint32_t task = worker.head
        cdef uint32_t i
        for i in range(worker.held):
            out.data.as_uints[i] = task
            task = self._nodes[task].next
        return out

    def held_tasks(self, uint32_t worker):
        """The tasks of a worker."""
        return self._held_tasks(self._known(worker))

    def held(self, uint32_t worker):
        """How many tasks it holds."""
        return self._known(worker).held

    def busy(self, uint32_t worker):
        """How many of its tasks do not lend their slots."""
        return self._busy(self._known(worker))

    def newest(self, uint32_t worker):
        """The task it was given last."""
        return self._known(worker).tail

    def backlog(self, uint32_t worker):
        """Their costs together."""
        return self._known(worker).backlog

    def slots(self, uint32_t worker):
        """Its slots."""
        return self._known(worker).slots

    def group(self, uint32_t worker):
        """Its group."""
        return self._known(worker).group

    def level(self, uint32_t worker):
        """Its level."""
        return self._known(worker).level

    def has_room(self, uint32_t worker):
        """Whether it may have one more task."""
        return self._known(worker).listed

    @property
    def total_slots(self):
        return self._slots

    @property
    def idle_slots(self):
        return self._idle

    @property
    def workers(self):
        cdef c_array.array out = new32(self._count)
        cdef Py_ssize_t n = 0
        cdef size_t i
        for i in range(self._workers_size):
            if self._workers[i].present:
                out.data.as_uints[n] = <uint32_t>i
                n += 1
        return out

    def __len__(self):
        return self._count

    # Checks.

    cdef int _check_worker(self, uint32_t number) except -1:
        """Count what a worker holds."""
        cdef Worker* worker = &self._workers[number]
        cdef uint64_t backlog = 0
        cdef uint32_t held = 0
        cdef uint32_t lent = 0
        cdef uint32_t before = NONE
        cdef uint32_t task = worker.head
        while task != NONE:
            if self._nodes[task].worker != number or self._nodes[task].prev != before:
                raise AssertionError(f"task {task} of worker {number} is not linked as it should be")
            held += 1
            lent += self._nodes[task].lends
            backlog += 0 if self._nodes[task].lends else self._nodes[task].cost
            before = task
            task = self._nodes[task].next
        if worker.tail != before or worker.held != held or worker.lent != lent or worker.backlog != backlog:
            raise AssertionError(f"worker {number} holds {held} tasks of {backlog} us in all, {lent} lend their slots")
        if worker.level != self._level(worker) or worker.listed != self._room(worker) or worker.fresh:
            raise AssertionError(f"worker {number} is not listed as it should be")
        return 0

    cdef int _check_group(self, uint32_t number) except -1:
        """Walk through the lists of a group; returns how many workers stand in them."""
        cdef Group* group = &self._groups[number]
        cdef uint32_t before, worker
        cdef int found = 0
        cdef int level
        for level in range(_LEVELS):
            before = NONE
            worker = group.levels[level].head
            while worker != NONE:
                if (
                    not self._workers[worker].present
                    or not self._workers[worker].listed
                    or self._workers[worker].group != number
                    or self._workers[worker].level != level
                    or self._workers[worker].prev != before
                ):
                    raise AssertionError(f"worker {worker} should not stand in group {number} at level {level}")
                found += 1
                before = worker
                worker = self._workers[worker].next
            if group.levels[level].tail != before or (group.occupied >> level & 1) != (before != NONE):
                raise AssertionError(f"group {number}, level {level} ends elsewhere or is marked wrongly")
        return found

    def check(self):
        """Recompute everything."""
        cdef size_t i, present, assigned, held, listed, standing
        cdef uint64_t idle = 0
        cdef uint64_t slots = 0
        cdef Worker* worker
        present = assigned = held = listed = standing = 0
        open_workers = [0] * <Py_ssize_t>self._groups_size
        for i in range(self._workers_size):
            worker = &self._workers[i]
            if not worker.present:
                continue
            self._check_worker(<uint32_t>i)
            present += 1
            slots += worker.slots
            held += worker.held
            listed += worker.listed
            idle += self._idle_of(worker)
            open_workers[worker.group] += not worker.draining
        for i in range(self._groups_size):
            standing += self._check_group(<uint32_t>i)
            if self._groups[i].open != open_workers[i]:
                raise AssertionError(f"group {i} has {open_workers[i]} workers, not {self._groups[i].open}")
        for i in range(self._size):
            assigned += self._nodes[i].worker != NONE
        if present != self._count or listed != self._listed or listed != standing:
            raise AssertionError(f"{present} workers, {listed} with room, {standing} standing in lists")
        if slots != self._slots:
            raise AssertionError(f"{slots} slots, not {self._slots}")
        if assigned != held or idle != self._idle:
            raise AssertionError(f"{assigned} assigned tasks, {held} held; {idle} idle slots, not {self._idle}")
