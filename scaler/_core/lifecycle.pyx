# cython: auto_pickle=False, autotestdict=False
"""States and attempts of tasks by dense index; lifecycle.pyi has the contract."""

from cpython cimport array as c_array
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcpy, memset

from scaler._core.columns cimport Column, column32, new32

cdef uint32_t NONE_INDEX = 0xFFFFFFFF
cdef uint8_t _NO_MOVE = 255
# stale() marks what it has seen in this bit of the state, and takes it away before it returns.
cdef uint8_t _SEEN = 0x80
cdef Py_ssize_t _MOST_STATES = 128


cdef int _refuse_none(Column tasks) except -1:
    cdef Py_ssize_t i
    for i in range(tasks.n):
        if tasks.u32[i] == NONE_INDEX:
            raise IndexError("0xFFFFFFFF is no index")
    return 0


cdef class Lifecycle:
    def __cinit__(self, bytes table not None, Py_ssize_t states, Py_ssize_t events):
        cdef const uint8_t* given = table
        cdef Py_ssize_t cells, i
        if not 0 < states <= _MOST_STATES or events < 0:
            raise ValueError(f"1 to {_MOST_STATES} states and 0 or more events are needed, not {states} and {events}")
        if len(table) % states or len(table) // states != events:
            raise ValueError(f"a table of {states} states and {events} events cannot have {len(table)} bytes")
        cells = states * events
        for i in range(cells):
            if given[i] >= states and given[i] != _NO_MOVE:
                raise ValueError(f"the table names state {given[i]} of {states}")
        self._states = states
        self._events = events
        self._table = <uint8_t*>malloc(cells + 1)
        self._counts = <Py_ssize_t*>calloc(states, sizeof(Py_ssize_t))
        if self._table == NULL or self._counts == NULL:
            raise MemoryError
        memcpy(self._table, given, cells)

    def __dealloc__(self):
        free(self._table)
        free(self._counts)
        free(self._state)
        free(self._attempt)

    cdef int _grow(self, uint32_t task) except -1:
        """Make room for this index."""
        cdef size_t size = max(<size_t>task + 1, <size_t>self._size * 2, <size_t>64)
        cdef uint8_t* state
        cdef uint32_t* attempt
        if task == NONE_INDEX:
            raise IndexError("0xFFFFFFFF is no index")
        if task < self._size:
            return 0
        size = min(size, <size_t>NONE_INDEX)
        state = <uint8_t*>realloc(self._state, size)
        if state == NULL:
            raise MemoryError
        self._state = state
        attempt = <uint32_t*>realloc(self._attempt, size * sizeof(uint32_t))
        if attempt == NULL:
            raise MemoryError
        self._attempt = attempt
        memset(state + self._size, 0, size - self._size)
        memset(attempt + self._size, 0, (size - self._size) * sizeof(uint32_t))
        self._size = <uint32_t>size
        return 0

    cdef int _grow_for(self, Column tasks) except -1:
        """Make room for every index of a column."""
        cdef uint32_t highest = 0
        cdef Py_ssize_t i
        for i in range(tasks.n):
            if tasks.u32[i] > highest:
                highest = tasks.u32[i]
        if tasks.n:
            self._grow(highest)
        return 0

    cdef int _move(self, uint32_t task, uint8_t state) except -1:
        """Put a task of the table into a state."""
        self._counts[self._state[task]] -= 1
        self._counts[state] += 1
        self._state[task] = state
        return 0

    cdef int _known_state(self, Py_ssize_t state) except -1:
        if not 0 <= state < self._states:
            raise ValueError(f"{state} is none of the {self._states} states")
        return 0

    def open(self, tasks, Py_ssize_t state):
        """Begin the life of these indexes."""
        cdef Column chosen = column32(tasks)
        cdef Py_ssize_t i, done
        self._known_state(state)
        if state == 0:
            raise ValueError("state 0 means that there is no task")
        self._grow_for(chosen)
        for done in range(chosen.n):
            if self._state[chosen.u32[done]] != 0:
                for i in range(done):
                    self._state[chosen.u32[i]] = 0
                raise ValueError(f"task {chosen.u32[done]} is open already")
            self._state[chosen.u32[done]] = <uint8_t>state
        for i in range(chosen.n):
            self._attempt[chosen.u32[i]] = 0
        self._counts[0] -= chosen.n
        self._counts[state] += chosen.n

    def apply(self, Py_ssize_t event, tasks):
        """Move each task that the table lets move."""
        cdef Column chosen = column32(tasks)
        cdef c_array.array out = new32(chosen.n)
        cdef Py_ssize_t i
        cdef Py_ssize_t moved = 0
        cdef uint32_t task
        cdef uint8_t state
        if not 0 <= event < self._events:
            raise ValueError(f"{event} is none of the {self._events} events")
        if self._table[event] != _NO_MOVE:
            self._grow_for(chosen)
        else:
            _refuse_none(chosen)
        for i in range(chosen.n):
            task = chosen.u32[i]
            state = self._table[self.state_of(task) * self._events + event]
            if state != _NO_MOVE:
                self._move(task, state)
                out.data.as_uints[moved] = task
                moved += 1
        if moved < chosen.n:
            c_array.resize(out, moved)
        return out

    def bump(self, tasks):
        """Add one to the attempt number of each task."""
        cdef Column chosen = column32(tasks)
        cdef c_array.array out = new32(chosen.n)
        cdef Py_ssize_t i
        self._grow_for(chosen)
        for i in range(chosen.n):
            self._attempt[chosen.u32[i]] += 1
            out.data.as_uints[i] = self._attempt[chosen.u32[i]]
        return out

    def set_attempt(self, uint32_t task, uint32_t attempt):
        """Give a task the attempt number that it has elsewhere."""
        if self.state_of(task) == 0:
            raise ValueError(f"there is no task {task}")
        self._attempt[task] = attempt

    def attempts(self, tasks):
        """The attempt number of each task."""
        cdef Column chosen = column32(tasks)
        cdef c_array.array out = new32(chosen.n)
        cdef Py_ssize_t i
        _refuse_none(chosen)
        for i in range(chosen.n):
            out.data.as_uints[i] = self.attempt_of(chosen.u32[i])
        return out

    def stale(self, tasks, attempts):
        """The positions that speak of no task, of another attempt, or of a task named before."""
        cdef Column chosen = column32(tasks)
        cdef Column given = column32(attempts)
        cdef c_array.array out
        cdef Py_ssize_t i
        cdef Py_ssize_t found = 0
        cdef uint32_t task
        if chosen.n != given.n:
            raise ValueError(f"{chosen.n} tasks, {given.n} attempts")
        out = new32(chosen.n)
        for i in range(chosen.n):
            task = chosen.u32[i]
            if task >= self._size or self._state[task] == 0 or self._state[task] & _SEEN:
                out.data.as_uints[found] = <uint32_t>i
                found += 1
                continue
            self._state[task] |= _SEEN
            if self._attempt[task] != given.u32[i]:
                out.data.as_uints[found] = <uint32_t>i
                found += 1
        for i in range(chosen.n):
            if chosen.u32[i] < self._size:
                self._state[chosen.u32[i]] &= ~_SEEN
        if found < chosen.n:
            c_array.resize(out, found)
        return out

    def state(self, uint32_t task):
        """The state of one task."""
        return self.state_of(task)

    def attempt(self, uint32_t task):
        """The attempt number of one task."""
        return self.attempt_of(task)

    def count(self, Py_ssize_t state):
        """How many tasks are in this state."""
        self._known_state(state)
        return self._counts[state]

    def close(self, tasks):
        """Put these tasks back to state 0."""
        cdef Column chosen = column32(tasks)
        cdef Py_ssize_t i
        _refuse_none(chosen)
        for i in range(chosen.n):
            if self.state_of(chosen.u32[i]) != 0:
                self._move(chosen.u32[i], 0)

    def check(self):
        """Count again."""
        cdef Py_ssize_t state
        cdef uint32_t task
        counts = [0] * self._states
        for task in range(self._size):
            if self._state[task] >= self._states:
                raise AssertionError(f"task {task} is in state {self._state[task]} of {self._states}")
            counts[self._state[task]] += 1
        for state in range(1, self._states):
            if counts[state] != self._counts[state]:
                raise AssertionError(f"{counts[state]} tasks are in state {state}, not {self._counts[state]}")
