"""Ready tasks by class, priority and share; queues.pyi has the contract."""

from array import array

from libc.stdint cimport int32_t, int64_t, uint32_t, uintptr_t
from libc.stdlib cimport free, malloc, qsort, realloc

from scaler._core.columns cimport Column, column32

cdef uint32_t NONE = 0xFFFFFFFF
# The bucket of a task that is about to be entered, so that one named twice is noticed.
cdef uint32_t _ENTERING = 0xFFFFFFFE
# Before all arrival numbers.
cdef int64_t _FRONT = -(<int64_t>1 << 62)
# So many lanes without tasks are kept, and as many as have some.
cdef size_t _EMPTY_LANES = 64

DEPTH_BITS = 6


cdef void* _resized(void* old, size_t size) except NULL:
    cdef void* new = realloc(old, size)
    if new == NULL:
        raise MemoryError
    return new


cdef size_t _roomier(size_t size, size_t index) noexcept:
    """The size that a table gets when it has to hold this index."""
    return max(index + 1, size * 2, <size_t>16)


cdef int _compare(const void* a, const void* b) noexcept nogil:
    """For qsort; no two heads are equal."""
    return -1 if better(<const Head*>a, <const Head*>b) else 1


cdef class ReadyQueues:
    def __cinit__(self):
        self._free = NONE
        # Who could foretell the weights could choose priorities that make the trees lists. Only time depends on them.
        self._random = <uint32_t>(<uintptr_t><void*>self >> 4) | 1
        self._lane_of = {}
        self._share_of = {}
        self._free_lanes = []
        self._free_shares = []

    def __dealloc__(self):
        free(self._nodes)
        free(self._buckets)
        free(self._lanes)
        free(self._shares)
        free(self._active)
        free(self._class_counts)

    def __len__(self):
        return self._count

    # Room for more.

    cdef int _grow(self, uint32_t task) except -1:
        """Make room for this task."""
        cdef size_t i, size
        if task == NONE:
            raise IndexError("0xFFFFFFFF is no index")
        if task < self._size:
            return 0
        size = _roomier(self._size, task)
        self._nodes = <Node*>_resized(self._nodes, size * sizeof(Node))
        for i in range(self._size, size):
            self._nodes[i].bucket = NONE
            self._nodes[i].reserved = False
        self._size = size
        return 0

    cdef int _grow_classes(self, uint32_t requirement_class) except -1:
        """Make room for this class."""
        cdef size_t i, size
        if requirement_class == NONE:
            raise IndexError("0xFFFFFFFF is no index")
        if requirement_class < self._classes_size:
            return 0
        size = _roomier(self._classes_size, requirement_class)
        self._class_counts = <size_t*>_resized(self._class_counts, size * sizeof(size_t))
        for i in range(self._classes_size, size):
            self._class_counts[i] = 0
        self._classes_size = size
        return 0

    cdef int _grow_buckets(self, size_t more) except -1:
        """Make room for so many more buckets, not counting free ones."""
        cdef size_t size
        if self._buckets_used + more <= self._buckets_size:
            return 0
        size = _roomier(self._buckets_size, self._buckets_used + more - 1)
        self._buckets = <Bucket*>_resized(self._buckets, size * sizeof(Bucket))
        self._buckets_size = size
        return 0

    # Lanes, and the shares they belong to.

    cdef uint32_t _lane(self, uint32_t requirement_class, uint32_t share) except? 0xFFFFFFFF:
        """The lane of this class and share, made if there is none."""
        found = self._lane_of.get((requirement_class, share))
        if found is not None:
            return found
        self._grow_classes(requirement_class)
        if <size_t>len(self._lane_of) > 2 * self._active_count + _EMPTY_LANES:
            self._sweep()
        number = self._share_of.get(share)
        if number is None:
            number = self._share_of[share] = self._new_share()
        lane = self._new_lane(requirement_class, number)
        self._lane_of[requirement_class, share] = lane
        return lane

    cdef uint32_t _new_lane(self, uint32_t requirement_class, uint32_t share) except? 0xFFFFFFFF:
        cdef uint32_t lane
        cdef size_t size
        if self._free_lanes:
            lane = self._free_lanes.pop()
        else:
            lane = <uint32_t>len(self._lane_of)
            if lane >= self._lanes_size:
                size = _roomier(self._lanes_size, lane)
                self._lanes = <Lane*>_resized(self._lanes, size * sizeof(Lane))
                self._active = <uint32_t*>_resized(self._active, size * sizeof(uint32_t))
                self._lanes_size = size
        self._lanes[lane] = Lane(NONE, NONE, requirement_class, share, NONE, 0)
        return lane

    cdef uint32_t _new_share(self) except? 0xFFFFFFFF:
        cdef uint32_t share
        cdef size_t size
        if self._free_shares:
            share = self._free_shares.pop()
        else:
            share = <uint32_t>len(self._share_of)
            if share >= self._shares_size:
                size = _roomier(self._shares_size, share)
                self._shares = <Share*>_resized(self._shares, size * sizeof(Share))
                self._shares_size = size
        self._shares[share] = Share(0, 0, 0)
        return share

    cdef int _sweep(self) except -1:
        """Forget lanes without tasks, and shares without lanes."""
        cdef uint32_t lane, number
        for key, lane in list(self._lane_of.items()):
            if not self._lanes[lane].count:
                del self._lane_of[key]
                self._free_lanes.append(lane)
        for share, number in list(self._share_of.items()):
            if not self._shares[number].count:
                del self._share_of[share]
                self._free_shares.append(number)
        return 0

    cdef void _count_in(self, uint32_t number, size_t n) noexcept:
        """So many tasks more are in a lane. A share that had none begins where the others are now."""
        cdef Lane* lane = &self._lanes[number]
        cdef Share* share = &self._shares[lane.share]
        if lane.place == NONE:
            lane.place = <uint32_t>self._active_count
            self._active[self._active_count] = number
            self._active_count += 1
        if not share.count:
            share.served = self._served
            share.since = self._activations
            self._activations += 1
        lane.count += n
        share.count += n
        self._class_counts[lane.requirement_class] += n
        self._count += n

    cdef void _count_out(self, uint32_t number) noexcept:
        """One task less is in a lane."""
        cdef Lane* lane = &self._lanes[number]
        cdef uint32_t last
        lane.count -= 1
        self._shares[lane.share].count -= 1
        self._class_counts[lane.requirement_class] -= 1
        self._count -= 1
        if not lane.count:
            self._active_count -= 1
            last = self._active[self._active_count]
            self._active[lane.place] = last
            self._lanes[last].place = lane.place
            lane.place = NONE

    # The buckets of a lane: a treap by priority and arrival, the best bucket remembered.

    cdef uint32_t _merge(self, uint32_t low, uint32_t high) noexcept:
        """One tree out of two, all of the first being worse."""
        cdef uint32_t root = NONE
        cdef uint32_t* link = &root
        while low != NONE and high != NONE:
            if self._buckets[low].weight > self._buckets[high].weight:
                link[0] = low
                link = &self._buckets[low].right
                low = link[0]
            else:
                link[0] = high
                link = &self._buckets[high].left
                high = link[0]
        link[0] = high if low == NONE else low
        return root

    cdef void _split(self, uint32_t root, int32_t priority, int64_t since, uint32_t* low, uint32_t* high) noexcept:
        """Two trees out of one: the worse buckets and the others."""
        while root != NONE:
            if worse(&self._buckets[root], priority, since):
                low[0] = root
                low = &self._buckets[root].right
                root = low[0]
            else:
                high[0] = root
                high = &self._buckets[root].left
                root = high[0]
        low[0] = NONE
        high[0] = NONE

    cdef uint32_t _find(self, uint32_t root, int32_t priority, int64_t since) noexcept:
        """The bucket of this priority and time, NONE if there is none."""
        while root != NONE and (self._buckets[root].priority != priority or self._buckets[root].since != since):
            if worse(&self._buckets[root], priority, since):
                root = self._buckets[root].right
            else:
                root = self._buckets[root].left
        return root

    cdef uint32_t _rightmost(self, uint32_t root) noexcept:
        """The best bucket."""
        while root != NONE and self._buckets[root].right != NONE:
            root = self._buckets[root].right
        return root

    cdef uint32_t _new_bucket(self, uint32_t lane, int32_t priority, int64_t since) noexcept:
        """An empty bucket that is in no tree yet; _grow_buckets came before."""
        cdef uint32_t bucket = self._free
        if bucket != NONE:
            self._free = self._buckets[bucket].right
        else:
            bucket = self._buckets_used
            self._buckets_used += 1
        self._random ^= self._random << 13
        self._random ^= self._random >> 17
        self._random ^= self._random << 5
        self._buckets[bucket] = Bucket(since, NONE, NONE, NONE, NONE, self._random, lane, priority)
        return bucket

    cdef uint32_t _bucket_for(self, uint32_t lane, int32_t priority, int64_t since) noexcept:
        """The bucket of this lane, priority and time, made if there is none."""
        cdef Lane* line = &self._lanes[lane]
        cdef uint32_t bucket = self._find(line.root, priority, since)
        cdef uint32_t low = NONE
        cdef uint32_t high = NONE
        if bucket != NONE:
            return bucket
        bucket = self._new_bucket(lane, priority, since)
        self._split(line.root, priority, since, &low, &high)
        line.root = self._merge(self._merge(low, bucket), high)
        if line.best == NONE or worse(&self._buckets[line.best], priority, since):
            line.best = bucket
        return bucket

    cdef void _drop_bucket(self, uint32_t bucket) noexcept:
        """Take an empty bucket out of its tree and keep it for later."""
        cdef Bucket* gone = &self._buckets[bucket]
        cdef Lane* line = &self._lanes[gone.lane]
        cdef uint32_t* link = &line.root
        while link[0] != bucket:
            if worse(&self._buckets[link[0]], gone.priority, gone.since):
                link = &self._buckets[link[0]].right
            else:
                link = &self._buckets[link[0]].left
        link[0] = self._merge(gone.left, gone.right)
        if line.best == bucket:
            line.best = self._rightmost(line.root)
        gone.lane = NONE
        gone.right = self._free
        self._free = bucket

    # Tasks.

    cdef int _mark(self, const uint32_t* tasks, Py_ssize_t n) except -1:
        """Mark these tasks as entering; raises, changing nothing, if one is queued or named twice."""
        cdef Py_ssize_t i, done
        for done in range(n):
            if self._nodes[tasks[done]].bucket != NONE:
                for i in range(done):
                    self._nodes[tasks[i]].bucket = NONE
                raise ValueError(f"task {tasks[done]} is queued already")
            self._nodes[tasks[done]].bucket = _ENTERING
        return 0

    cdef uint32_t _enter(
        self, const uint32_t* tasks, Py_ssize_t n, uint32_t requirement_class, uint32_t share
    ) except? 0xFFFFFFFF:
        """All that can fail when tasks are pushed; returns their lane."""
        cdef uint32_t highest = 0
        cdef uint32_t lane
        cdef size_t buckets = 1
        cdef Py_ssize_t i
        for i in range(n):
            highest = max(highest, tasks[i])
        self._grow(highest)
        lane = self._lane(requirement_class, share)
        for i in range(n):
            buckets += self._nodes[tasks[i]].reserved
        self._grow_buckets(buckets)
        self._mark(tasks, n)
        return lane

    cdef void _append(self, uint32_t number, uint32_t task, int64_t arrival) noexcept:
        """Enter a task as the last of a bucket."""
        cdef Bucket* bucket = &self._buckets[number]
        self._nodes[task] = Node(arrival, NONE, bucket.tail, number, False)
        if bucket.tail == NONE:
            bucket.head = task
        else:
            self._nodes[bucket.tail].next = task
        bucket.tail = task

    cdef void _unlink(self, uint32_t task) noexcept:
        """Take a queued task out."""
        cdef Node* node = &self._nodes[task]
        cdef Bucket* bucket = &self._buckets[node.bucket]
        if node.prev != NONE:
            self._nodes[node.prev].next = node.next
        else:
            bucket.head = node.next
        if node.next != NONE:
            self._nodes[node.next].prev = node.prev
        else:
            bucket.tail = node.prev
        self._count_out(bucket.lane)
        if bucket.head == NONE:
            self._drop_bucket(node.bucket)
        node.bucket = NONE

    cdef void head(self, uint32_t lane, Head* out) noexcept:
        """Describe the next task of a lane that has some."""
        cdef Bucket* bucket = &self._buckets[self._lanes[lane].best]
        cdef Share* share = &self._shares[self._lanes[lane].share]
        out.arrival = self._nodes[bucket.head].arrival
        out.served = share.served
        out.since = share.since
        out.priority = bucket.priority
        out.lane = lane
        out.requirement_class = self._lanes[lane].requirement_class
        out.task = bucket.head

    cdef uint64_t served(self, const Head* head) noexcept:
        """What the share of a lane has had by now."""
        return self._shares[self._lanes[head.lane].share].served

    cdef bint take(self, const Head* head, uint32_t cost) noexcept:
        """Take the next task of a lane, at this cost to its share; whether there is another one in the lane."""
        cdef Lane* lane = &self._lanes[head.lane]
        self._served = max(self._served, head.served)
        self._shares[lane.share].served += max(cost, <uint32_t>1)
        self._unlink(head.task)
        return lane.count != 0

    cdef bint _best_head(self, uint32_t requirement_class, Head* out) noexcept:
        """Describe the next task of a class; False where there is none."""
        cdef Head head
        cdef bint found = False
        cdef size_t i
        for i in range(self._active_count):
            if self._lanes[self._active[i]].requirement_class == requirement_class:
                self.head(self._active[i], &head)
                if not found or better(&head, out):
                    out[0] = head
                    found = True
        return found

    def count(self, uint32_t requirement_class):
        """How many tasks of this class wait."""
        return self._class_counts[requirement_class] if requirement_class < self._classes_size else 0

    def reserve(self, tasks):
        """Keep places for tasks that are to be pushed later."""
        cdef Column chosen = column32(tasks)
        cdef Py_ssize_t i
        cdef uint32_t highest = 0
        for i in range(chosen.n):
            highest = max(highest, chosen.u32[i])
        if not chosen.n:
            return
        self._grow(highest)
        self._mark(chosen.u32, chosen.n)
        for i in range(chosen.n):
            self._nodes[chosen.u32[i]] = Node(self._newest, NONE, NONE, NONE, True)
            self._newest += 1
        self._since = self._newest

    def push(self, tasks, uint32_t requirement_class, int32_t priority, uint32_t share=0):
        """Append tasks, or put them where a place is kept for them."""
        cdef Column chosen = column32(tasks)
        cdef Py_ssize_t i
        cdef uint32_t task, lane
        cdef int64_t arrival
        cdef uint32_t last = NONE
        if not chosen.n:
            return
        lane = self._enter(chosen.u32, chosen.n, requirement_class, share)
        for i in range(chosen.n):
            task = chosen.u32[i]
            if self._nodes[task].reserved:
                arrival = self._nodes[task].arrival
                self._append(self._bucket_for(lane, priority, arrival), task, arrival)
                continue
            if last == NONE:
                last = self._bucket_for(lane, priority, self._since)
            self._append(last, task, self._newest)
            self._newest += 1
        self._count_in(lane, chosen.n)

    def push_front(self, tasks, uint32_t requirement_class, int32_t priority, uint32_t share=0):
        """Put tasks before all others of the class, priority and share."""
        cdef Column chosen = column32(tasks)
        cdef Py_ssize_t i
        cdef uint32_t lane, number, task
        cdef Bucket* bucket
        if not chosen.n:
            return
        lane = self._enter(chosen.u32, chosen.n, requirement_class, share)
        number = self._bucket_for(lane, priority, _FRONT)
        bucket = &self._buckets[number]
        for i in range(chosen.n - 1, -1, -1):
            task = chosen.u32[i]
            self._oldest -= 1
            self._nodes[task] = Node(self._oldest, bucket.head, NONE, number, False)
            if bucket.head == NONE:
                bucket.tail = task
            else:
                self._nodes[bucket.head].prev = task
            bucket.head = task
        self._count_in(lane, chosen.n)

    def peek(self, uint32_t requirement_class):
        """The next task of the class."""
        cdef Head head
        return head.task if self._best_head(requirement_class, &head) else NONE

    def pop(self, uint32_t requirement_class, uint32_t cost=1):
        """Take the next task of the class."""
        cdef Head head
        if not self._best_head(requirement_class, &head):
            return NONE
        self.take(&head, cost)
        return head.task

    def remove(self, tasks):
        """Take these tasks out wherever they are, and give up the places kept for them."""
        cdef Column chosen = column32(tasks)
        cdef size_t before = self._count
        cdef Py_ssize_t i
        for i in range(chosen.n):
            if chosen.u32[i] >= self._size:
                continue
            self._nodes[chosen.u32[i]].reserved = False
            if self._nodes[chosen.u32[i]].bucket != NONE:
                self._unlink(chosen.u32[i])
        return before - self._count

    def __contains__(self, uint32_t task):
        return task < self._size and self._nodes[task].bucket != NONE

    def classes(self):
        """The classes that have tasks, best head first."""
        cdef Head* heads = <Head*>malloc((self._active_count + 1) * sizeof(Head))
        cdef size_t i
        if heads == NULL:
            raise MemoryError
        try:
            for i in range(self._active_count):
                self.head(self._active[i], &heads[i])
            qsort(heads, self._active_count, sizeof(Head), _compare)
            found = dict.fromkeys([heads[i].requirement_class for i in range(self._active_count)])
        finally:
            free(heads)
        return array("I", found)

    def arrivals(self):
        """All that is queued or has a place, first arrived first."""
        cdef size_t i
        found = [
            (self._nodes[i].arrival, i) for i in range(self._size) if self._nodes[i].bucket != NONE or self._nodes[i].reserved
        ]
        found.sort()
        return array("I", [task for _, task in found])

    cdef size_t _better(self, uint32_t root, const Bucket* than) noexcept:
        """How many tasks of a tree stand in buckets that go before this one."""
        cdef size_t n = 0
        cdef uint32_t task
        while root != NONE:
            if not worse(&self._buckets[root], than.priority, than.since) and &self._buckets[root] != than:
                task = self._buckets[root].head
                while task != NONE:
                    n += 1
                    task = self._nodes[task].next
                n += self._better(self._buckets[root].right, than)
                root = self._buckets[root].left
            else:
                root = self._buckets[root].right
        return n

    def ahead(self, uint32_t task):
        """How many tasks of its class and share go before a queued one."""
        cdef const Bucket* bucket
        cdef size_t n
        cdef uint32_t before
        if task not in self:
            raise ValueError(f"task {task} is not queued")
        bucket = &self._buckets[self._nodes[task].bucket]
        n = self._better(self._lanes[bucket.lane].root, bucket)
        before = self._nodes[task].prev
        while before != NONE:
            n += 1
            before = self._nodes[before].prev
        return n

    # Checks.

    cdef int _check_tree(self, uint32_t root, uint32_t lane, list found) except -1:
        """Append the buckets of a tree in its order."""
        cdef uint32_t child
        if root == NONE:
            return 0
        if self._buckets[root].lane != lane:
            raise AssertionError(f"bucket {root} is in the tree of lane {lane}, not {self._buckets[root].lane}")
        for child in (self._buckets[root].left, self._buckets[root].right):
            if child != NONE and self._buckets[child].weight > self._buckets[root].weight:
                raise AssertionError(f"bucket {child} outweighs its parent")
        self._check_tree(self._buckets[root].left, lane, found)
        found.append(root)
        self._check_tree(self._buckets[root].right, lane, found)
        return 0

    cdef size_t _check_bucket(self, uint32_t bucket) except? 0:
        """Count the tasks of a bucket."""
        cdef size_t n = 0
        cdef uint32_t before = NONE
        cdef uint32_t task = self._buckets[bucket].head
        while task != NONE:
            if self._nodes[task].bucket != bucket or self._nodes[task].prev != before:
                raise AssertionError(f"task {task} is not linked as it should be")
            if before != NONE and self._nodes[before].arrival >= self._nodes[task].arrival:
                raise AssertionError(f"task {task} did not arrive after task {before}")
            if self._nodes[task].reserved or self._nodes[task].arrival < self._buckets[bucket].since:
                raise AssertionError(f"task {task} is in a bucket of later ones")
            if not self._oldest <= self._nodes[task].arrival < self._newest:
                raise AssertionError(f"task {task} has an arrival number from outside")
            before = task
            task = self._nodes[task].next
            n += 1
        if not n or self._buckets[bucket].tail != before:
            raise AssertionError(f"bucket {bucket} is empty or ends elsewhere")
        return n

    def check(self):
        """Walk through everything."""
        cdef size_t i, n, queued
        cdef size_t total = 0
        cdef size_t used = 0
        cdef uint32_t bucket, lane
        by_class, by_share = {}, {}
        for (requirement_class, share), lane in self._lane_of.items():
            found = []
            self._check_tree(self._lanes[lane].root, lane, found)
            priorities = [(self._buckets[<uint32_t>b].priority, -self._buckets[<uint32_t>b].since) for b in found]
            if priorities != sorted(set(priorities)):
                raise AssertionError(f"the buckets of lane {lane} are out of order")
            if self._lanes[lane].best != self._rightmost(self._lanes[lane].root):
                raise AssertionError(f"the best bucket of lane {lane} is another one")
            if self._lanes[lane].requirement_class != requirement_class or self._lanes[lane].share != self._share_of[share]:
                raise AssertionError(f"lane {lane} is of another class or share")
            n = 0
            for bucket in found:
                n += self._check_bucket(bucket)
            place = self._lanes[lane].place
            if n != self._lanes[lane].count or (n > 0) != (place != NONE):
                raise AssertionError(f"lane {lane} has {n} tasks, not {self._lanes[lane].count}")
            if n and (place >= self._active_count or self._active[<size_t>place] != lane):
                raise AssertionError(f"lane {lane} is not where it should be among those with tasks")
            by_class[requirement_class] = by_class.get(requirement_class, 0) + n
            by_share[share] = by_share.get(share, 0) + n
            total += n
            used += len(found)
        if {i: self._class_counts[<size_t>i] for i in range(self._classes_size) if self._class_counts[<size_t>i]} != {
            c: n for c, n in by_class.items() if n
        }:
            raise AssertionError("the classes are counted wrong")
        for share, number in self._share_of.items():
            if self._shares[<size_t>number].count != by_share.get(share, 0):
                raise AssertionError(f"share {share} is counted wrong")
        queued = 0
        for i in range(self._size):
            queued += self._nodes[i].bucket != NONE
        if total != self._count or total != queued:
            raise AssertionError(f"{total} tasks are linked, {queued} have a bucket, {self._count} are counted")
        bucket = self._free
        while bucket != NONE:
            used += 1
            bucket = self._buckets[bucket].right
        if used != self._buckets_used:
            raise AssertionError(f"{used} buckets are found of {self._buckets_used}")
