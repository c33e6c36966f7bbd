"""Whole graphs given as columns; analysis.pyi has the contract."""

from cpython cimport array as c_array
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free

from scaler._core.columns cimport Column, column32, new32
from scaler._core.graph cimport _Numbers


cdef class _Edges:
    def __cinit__(self, ends, dependencies):
        self.ends = column32(ends)
        self.dependencies = column32(dependencies)
        self.n = self.ends.n
        self.validate()

    cdef int validate(self) except -1:
        cdef Py_ssize_t i
        for i in range(self.n):
            if self.ends.u32[i] < self.start(i):
                raise ValueError(f"the end of node {i} lies before its start")
        if <Py_ssize_t>self.start(self.n) != self.dependencies.n:
            raise ValueError(f"the last node ends at {self.start(self.n)} of {self.dependencies.n} dependencies")
        for i in range(self.dependencies.n):
            if self.dependencies.u32[i] >= self.n:
                raise IndexError(f"dependency {self.dependencies.u32[i]} of {self.n} nodes")
        return 0


cdef class _Peel:
    def __cinit__(self, ends, dependencies):
        self.edges = _Edges(ends, dependencies)
        self.users = new32(self.edges.n)
        self.length = new32(self.edges.n)
        self.order = _Numbers()
        self.run()

    cdef int run(self) except -1:
        cdef uint32_t* users = <uint32_t*>self.users.data.as_uints
        cdef uint32_t* length = <uint32_t*>self.length.data.as_uints
        cdef const uint32_t* dependencies = self.edges.dependencies.u32
        cdef Py_ssize_t i, at
        cdef Py_ssize_t done = 0
        cdef uint32_t node, dependency
        for i in range(self.edges.n):
            users[i] = 0
            length[i] = 1
        for i in range(self.edges.dependencies.n):
            users[dependencies[i]] += 1
        for i in range(self.edges.n):
            if users[i] == 0:
                self.order.push(<uint32_t>i)
        while done < self.order.n:
            node = self.order.at[done]
            done += 1
            for at in range(self.edges.start(node), self.edges.ends.u32[node]):
                dependency = dependencies[at]
                length[dependency] = max(length[dependency], length[node] + 1)
                users[dependency] -= 1
                if users[dependency] == 0:
                    self.order.push(dependency)
        return 0

    cdef int refuse_cycle(self) except -1:
        if self.order.n < self.edges.n:
            raise ValueError("the dependencies have a cycle")
        return 0

    cdef c_array.array levels(self):
        """Dependencies come last in the order, so the other way round each finds those of its dependencies."""
        cdef c_array.array level = new32(self.edges.n)
        cdef uint32_t* found = <uint32_t*>level.data.as_uints
        cdef Py_ssize_t i, at
        cdef uint32_t node
        for i in range(self.order.n - 1, -1, -1):
            node = self.order.at[i]
            found[node] = 0
            for at in range(self.edges.start(node), self.edges.ends.u32[node]):
                found[node] = max(found[node], found[self.edges.dependencies.u32[at]] + 1)
        return level

    cdef c_array.array cycle(self):
        """A cycle among the nodes left, each of which has a user among them."""
        cdef c_array.array user = new32(self.edges.n)
        cdef uint32_t* users = <uint32_t*>self.users.data.as_uints
        cdef _Numbers found = _Numbers()
        cdef Py_ssize_t i, at
        cdef uint32_t first = 0
        for i in range(self.edges.n):
            if users[i]:
                first = <uint32_t>i
                for at in range(self.edges.start(i), self.edges.ends.u32[i]):
                    user.data.as_uints[self.edges.dependencies.u32[at]] = <uint32_t>i
        # After as many steps as there are nodes, the walk is on the cycle.
        for i in range(self.edges.n):
            first = user.data.as_uints[first]
        found.push(first)
        at = user.data.as_uints[first]
        while at != first:
            found.push(<uint32_t>at)
            at = user.data.as_uints[at]
        for i in range(found.n // 2):
            found.at[i], found.at[found.n - 1 - i] = found.at[found.n - 1 - i], found.at[i]
        return found.column()


cdef c_array.array _sorted(c_array.array order, c_array.array by, bint descending):
    """The nodes of an order by a number that is at most their count; equals stay as they are."""
    cdef Py_ssize_t n = len(order)
    cdef c_array.array out = new32(n)
    cdef c_array.array places = new32(n + 2)
    cdef uint32_t* place = <uint32_t*>places.data.as_uints
    cdef Py_ssize_t i
    cdef uint32_t node, key
    for i in range(n + 2):
        place[i] = 0
    for i in range(n):
        key = by.data.as_uints[i]
        place[(n - key if descending else key) + 1] += 1
    for i in range(1, n + 2):
        place[i] += place[i - 1]
    for i in range(n):
        node = order.data.as_uints[i]
        key = by.data.as_uints[node]
        if descending:
            key = <uint32_t>n - key
        out.data.as_uints[place[key]] = node
        place[key] += 1
    return out


def critical_path(ends, dependencies):
    """The number of nodes on the longest chain that starts at each node."""
    cdef _Peel peel = _Peel(ends, dependencies)
    peel.refuse_cycle()
    return peel.length


def levels(ends, dependencies):
    """The number of nodes on the longest chain before each node."""
    cdef _Peel peel = _Peel(ends, dependencies)
    peel.refuse_cycle()
    return peel.levels()


def run_order(ends, dependencies):
    """All nodes, those with the longest chain behind them first."""
    cdef _Peel peel = _Peel(ends, dependencies)
    cdef c_array.array order = new32(peel.edges.n)
    cdef Py_ssize_t i
    peel.refuse_cycle()
    for i in range(peel.edges.n):
        order.data.as_uints[i] = <uint32_t>i
    return _sorted(_sorted(order, peel.levels(), False), peel.length, True)


def find_cycle(ends, dependencies):
    """One cycle, each node depending on the next."""
    cdef _Peel peel = _Peel(ends, dependencies)
    return peel.cycle() if peel.order.n < peel.edges.n else new32(0)


def needed(ends, dependencies, targets):
    """The targets and all that they depend on."""
    cdef _Edges edges = _Edges(ends, dependencies)
    cdef Column wanted = column32(targets)
    cdef _Numbers pending = _Numbers()
    cdef Py_ssize_t done = 0
    cdef Py_ssize_t i, n
    cdef c_array.array out
    cdef uint8_t* seen = <uint8_t*>calloc(edges.n + 1, 1)
    if seen == NULL:
        raise MemoryError
    try:
        for i in range(wanted.n):
            if wanted.u32[i] >= edges.n:
                raise IndexError(f"target {wanted.u32[i]} of {edges.n} nodes")
            _see(wanted.u32[i], seen, pending)
        while done < pending.n:
            n = pending.at[done]
            done += 1
            for i in range(edges.start(n), edges.ends.u32[n]):
                _see(edges.dependencies.u32[i], seen, pending)
        out = new32(pending.n)
        done = 0
        for i in range(edges.n):
            if seen[i]:
                out.data.as_uints[done] = <uint32_t>i
                done += 1
    finally:
        free(seen)
    return out


cdef int _see(uint32_t node, uint8_t* seen, _Numbers pending) except -1:
    if not seen[node]:
        seen[node] = 1
        pending.push(node)
    return 0
