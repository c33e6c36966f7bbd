# cython: auto_pickle=False, autotestdict=False
"""Dependencies of tasks by dense index; graph.pyi has the contract."""

from cpython cimport array as c_array
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from scaler._core.columns cimport Column, column32, new32

cdef uint32_t NONE_INDEX = 0xFFFFFFFF


cdef class _Numbers:
    def __dealloc__(self):
        free(self.at)

    cdef int push(self, uint32_t number) except -1:
        cdef Py_ssize_t room
        cdef uint32_t* at
        if self.n == self.room:
            room = self.room * 2 + 16
            at = <uint32_t*>realloc(self.at, room * sizeof(uint32_t))
            if at == NULL:
                raise MemoryError
            self.at = at
            self.room = room
        self.at[self.n] = number
        self.n += 1
        return 0

    cdef c_array.array column(self):
        cdef c_array.array out = new32(self.n)
        if self.n:
            memcpy(out.data.as_voidptr, self.at, self.n * sizeof(uint32_t))
        return out


cdef void _free_node(Node* node) noexcept:
    free(node.edges)
    free(node.users)
    free(node)


cdef class Graph:
    # A pointer for each index; a node with an edge costs about 100 bytes, and each edge 8 at either end.

    def __dealloc__(self):
        cdef size_t task
        for task in range(self._size):
            if self._nodes[task] != NULL:
                _free_node(self._nodes[task])
        free(self._nodes)

    def __len__(self):
        return self._n

    cdef Node* _ensure(self, uint32_t task) except NULL:
        """The node of an index, a new one if there is none."""
        cdef size_t size = max(<size_t>task + 1, self._size * 2, <size_t>64)
        cdef Node** nodes
        if task == NONE_INDEX:
            raise IndexError("0xFFFFFFFF is no index")
        if task >= self._size:
            nodes = <Node**>realloc(self._nodes, size * sizeof(Node*))
            if nodes == NULL:
                raise MemoryError
            memset(nodes + self._size, 0, (size - self._size) * sizeof(Node*))
            self._nodes = nodes
            self._size = size
        if self._nodes[task] == NULL:
            self._nodes[task] = <Node*>calloc(1, sizeof(Node))
            if self._nodes[task] == NULL:
                raise MemoryError
            self._n += 1
        return self._nodes[task]

    cdef int _connect(self, uint32_t task, Node* node, uint32_t edge) except -1:
        """Enter one edge of a task with its dependency."""
        cdef Node* source = self._ensure(node.edges[edge].dependency)
        cdef uint32_t room
        cdef User* users
        node.edges[edge].place = NONE_INDEX
        # All edges of a task are entered together, so a repeat finds its task at the end of the list.
        if source.users_end and source.users[source.users_end - 1].task == task:
            return 0
        if source.users_end == source.users_room:
            room = source.users_room * 2 if source.users_room else 2
            users = <User*>realloc(source.users, room * sizeof(User))
            if users == NULL:
                raise MemoryError
            source.users = users
            source.users_room = room
        source.users[source.users_end].task = task
        source.users[source.users_end].edge = edge
        node.edges[edge].place = source.users_end
        source.users_end += 1
        source.users_n += 1
        if not node.finished:
            source.unfinished_users += 1
        if not source.finished:
            node.missing += 1
        return 0

    def add(self, uint32_t task, dependencies):
        """Enter a task with its dependencies."""
        cdef Column given = column32(dependencies)
        cdef Node* node
        cdef Py_ssize_t i
        for i in range(given.n):
            if given.u32[i] == NONE_INDEX:
                raise IndexError("0xFFFFFFFF is no index")
            if given.u32[i] == task:
                raise ValueError(f"task {task} depends on itself")
        node = self.node_of(task)
        if node != NULL and node.edges_n:
            raise ValueError(f"task {task} has dependencies already")
        node = self._ensure(task)
        if given.n:
            node.edges = <Edge*>malloc(given.n * sizeof(Edge))
            if node.edges == NULL:
                raise MemoryError
        for i in range(given.n):
            node.edges[i].dependency = given.u32[i]
            self._connect(task, node, <uint32_t>i)
            node.edges_n += 1
        return node.missing

    def dependencies(self, uint32_t task):
        """As given to add."""
        cdef Node* node = self.node_of(task)
        cdef c_array.array out = new32(0 if node == NULL else node.edges_n)
        cdef Py_ssize_t i
        for i in range(len(out)):
            out.data.as_uints[i] = node.edges[i].dependency
        return out

    def dependents(self, uint32_t task):
        """Those not removed yet, in the order added."""
        cdef Node* node = self.node_of(task)
        cdef c_array.array out = new32(0 if node == NULL else node.users_n)
        cdef Py_ssize_t filled = 0
        cdef Py_ssize_t i
        if node != NULL:
            for i in range(node.users_end):
                if node.users[i].task != NONE_INDEX:
                    out.data.as_uints[filled] = node.users[i].task
                    filled += 1
        return out

    def missing(self, uint32_t task):
        """How many dependencies are not finished."""
        cdef Node* node = self.node_of(task)
        return 0 if node == NULL else node.missing

    def users(self, uint32_t task):
        """How many dependents were not removed yet."""
        cdef Node* node = self.node_of(task)
        return 0 if node == NULL else node.users_n

    def unfinished_users(self, uint32_t task):
        """How many dependents are not finished."""
        cdef Node* node = self.node_of(task)
        return 0 if node == NULL else node.unfinished_users

    def finished(self, uint32_t task):
        """Whether this node is finished."""
        cdef Node* node = self.node_of(task)
        return node != NULL and node.finished != 0

    cdef void _count_user(self, Node* node, int change) noexcept:
        """Tell the dependencies of a node that it has become finished (-1) or unfinished (1)."""
        cdef uint32_t i
        for i in range(node.edges_n):
            if node.edges[i].place != NONE_INDEX:
                self._nodes[node.edges[i].dependency].unfinished_users += change

    cdef int _finish(self, Node* node, _Numbers ready) except -1:
        """Let the users of one node wait no longer; those that wait for nothing more go to ``ready``."""
        cdef Node* user
        cdef uint32_t i
        if node.finished:
            return 0
        node.finished = True
        self._count_user(node, -1)
        for i in range(node.users_end):
            if node.users[i].task != NONE_INDEX:
                user = self._nodes[node.users[i].task]
                user.missing -= 1
                if user.missing == 0:
                    ready.push(node.users[i].task)
        return 0

    def finish(self, tasks):
        """Mark nodes as finished; returns the tasks that wait for nothing more."""
        cdef Column chosen = column32(tasks)
        cdef _Numbers ready = _Numbers()
        cdef Node* node
        cdef Py_ssize_t i
        for i in range(chosen.n):
            node = self.node_of(chosen.u32[i])
            if node != NULL:
                self._finish(node, ready)
        return ready.column()

    def mark_finished(self, uint32_t task):
        """Make a finished node."""
        self._finish(self._ensure(task), _Numbers())

    def reopen(self, uint32_t task):
        """Make a node unfinished again."""
        cdef Node* node = self.node_of(task)
        cdef uint32_t i
        if node == NULL or not node.finished:
            return
        node.finished = False
        self._count_user(node, 1)
        for i in range(node.users_end):
            if node.users[i].task != NONE_INDEX:
                self._nodes[node.users[i].task].missing += 1

    cdef void _compact(self, Node* node) noexcept:
        """Close the gaps in a list of users once they are more than half of it."""
        cdef uint32_t end = 0
        cdef uint32_t i
        if node.users_end < 16 or node.users_end < node.users_n * 2:
            return
        for i in range(node.users_end):
            if node.users[i].task != NONE_INDEX:
                node.users[end] = node.users[i]
                self._nodes[node.users[end].task].edges[node.users[end].edge].place = end
                end += 1
        node.users_end = end

    cdef int _disconnect(self, Node* node, Edge* edge) noexcept:
        """Take an edge of a node from its dependency; whether that was its last user."""
        cdef Node* source
        if edge.place == NONE_INDEX:
            return False
        source = self._nodes[edge.dependency]
        if not node.finished:
            source.unfinished_users -= 1
        source.users[edge.place].task = NONE_INDEX
        source.users_n -= 1
        if source.users_n == 0:
            free(source.users)
            source.users = NULL
            source.users_end = 0
            source.users_room = 0
            return True
        self._compact(source)
        return False

    def remove(self, uint32_t task):
        """Forget a node and its edges; returns the dependencies that have no user left."""
        cdef Node* node = self.node_of(task)
        cdef _Numbers unused = _Numbers()
        if node == NULL:
            return unused.column()
        if node.users_n:
            raise ValueError(f"{node.users_n} tasks depend on task {task}")
        self._drop_edges(node, unused)
        _free_node(node)
        self._nodes[task] = NULL
        self._n -= 1
        return unused.column()

    cdef int _drop_edges(self, Node* node, _Numbers unused) except -1:
        """Take all edges from a node; dependencies that have no user left go to ``unused``."""
        cdef uint32_t i
        for i in range(node.edges_n):
            if self._disconnect(node, node.edges + i):
                unused.push(node.edges[i].dependency)
        free(node.edges)
        node.edges = NULL
        node.edges_n = 0
        node.missing = 0
        return 0

    def detach(self, tasks):
        """Take all edges from finished nodes; returns the dependencies that have no user left."""
        cdef Column chosen = column32(tasks)
        cdef _Numbers unused = _Numbers()
        cdef Node* node
        cdef Py_ssize_t i
        for i in range(chosen.n):
            node = self.node_of(chosen.u32[i])
            if node != NULL and not node.finished:
                raise ValueError(f"task {chosen.u32[i]} is not finished")
        for i in range(chosen.n):
            node = self.node_of(chosen.u32[i])
            if node != NULL:
                self._drop_edges(node, unused)
        return unused.column()

    cdef int _push_users(self, Node* node, _Numbers found) except -1:
        """Add the users of a node that were not seen yet."""
        cdef uint32_t i
        if node == NULL:
            return 0
        for i in range(node.users_end):
            if node.users[i].task != NONE_INDEX and not self._nodes[node.users[i].task].seen:
                found.push(node.users[i].task)
                self._nodes[node.users[i].task].seen = True
        return 0

    def descendants(self, uint32_t task):
        """All that depend on a task, nearest first."""
        cdef Node* start = self.node_of(task)
        cdef _Numbers found = _Numbers()
        cdef Py_ssize_t i = 0
        if start == NULL:
            return found.column()
        start.seen = True
        try:
            self._push_users(start, found)
            while i < found.n:
                self._push_users(self._nodes[found.at[i]], found)
                i += 1
        finally:
            start.seen = False
            for i in range(found.n):
                self._nodes[found.at[i]].seen = False
        return found.column()

    cdef int _check_edges(self, uint32_t task, Node* node) except -1:
        cdef Edge edge
        cdef Node* source
        cdef uint32_t i
        unfinished = set()
        named = set()
        for i in range(node.edges_n):
            edge = node.edges[i]
            source = self.node_of(edge.dependency)
            if source == NULL:
                raise AssertionError(f"dependency {edge.dependency} of task {task} is no node")
            if (edge.place == NONE_INDEX) != (edge.dependency in named):
                raise AssertionError(f"dependency {edge.dependency} of task {task} is not entered exactly once")
            named.add(edge.dependency)
            if not source.finished:
                unfinished.add(edge.dependency)
            if edge.place != NONE_INDEX:
                if edge.place >= source.users_end:
                    raise AssertionError(f"dependency {edge.dependency} of task {task} has no such user")
                if source.users[edge.place].task != task or source.users[edge.place].edge != i:
                    raise AssertionError(f"dependency {edge.dependency} of task {task} names another user")
        if len(unfinished) != <Py_ssize_t>node.missing:
            raise AssertionError(f"task {task} waits for {len(unfinished)}, not for {node.missing}")
        return 0

    cdef int _check_users(self, uint32_t task, Node* node) except -1:
        cdef User user
        cdef Node* waiting
        cdef uint32_t i
        cdef uint32_t live = 0
        cdef uint32_t unfinished = 0
        for i in range(node.users_end):
            user = node.users[i]
            if user.task == NONE_INDEX:
                continue
            live += 1
            waiting = self.node_of(user.task)
            if waiting == NULL or user.edge >= waiting.edges_n:
                raise AssertionError(f"user {user.task} of task {task} has no such edge")
            unfinished += not waiting.finished
            if waiting.edges[user.edge].dependency != task or waiting.edges[user.edge].place != i:
                raise AssertionError(f"user {user.task} of task {task} depends on another")
        if live != node.users_n:
            raise AssertionError(f"task {task} has {live} users, not {node.users_n}")
        if unfinished != node.unfinished_users:
            raise AssertionError(f"task {task} has {unfinished} unfinished users, not {node.unfinished_users}")
        return 0

    def check(self):
        """Count nodes, missing and users again and compare both ends of each edge."""
        cdef size_t task
        cdef Py_ssize_t n = 0
        for task in range(self._size):
            if self._nodes[task] == NULL:
                continue
            n += 1
            if self._nodes[task].seen:
                raise AssertionError(f"task {task} is still marked as seen")
            self._check_edges(<uint32_t>task, self._nodes[task])
            self._check_users(<uint32_t>task, self._nodes[task])
        if n != self._n:
            raise AssertionError(f"{n} nodes, not {self._n}")
