# cython: auto_pickle=False, autotestdict=False
"""Ids to dense indexes and back; slots.pyi has the contract."""

from cpython cimport array as c_array
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memset

from scaler._core.columns cimport Column, column32, column64, new32, new64

cdef uint32_t NONE_INDEX = 0xFFFFFFFF
NONE = 0xFFFFFFFF


cdef inline uint64_t _mix(uint64_t id) noexcept:
    """Spread every bit over all others (the finalizer of MurmurHash3)."""
    id ^= id >> 33
    id *= <uint64_t>0xFF51AFD7ED558CCD
    id ^= id >> 33
    id *= <uint64_t>0xC4CEB9FE1A85EC53
    return id ^ (id >> 33)


cdef class Slots:
    # The buckets hold only indexes, the ids stand in the dense column: half the memory of (id, index) pairs.

    def __cinit__(self):
        self._rehash(64)

    def __dealloc__(self):
        free(self._ids)
        free(self._used)
        free(self._free)
        free(self._buckets)

    def __len__(self):
        return self._n

    @property
    def capacity(self):
        """One more than the highest index ever given out."""
        return self._top

    cdef size_t _bucket(self, uint64_t id) noexcept:
        """The bucket of this id, or the empty one where it belongs."""
        cdef size_t at = _mix(id) & self._mask
        while self._buckets[at] != NONE_INDEX and self._ids[self._buckets[at]] != id:
            at = (at + 1) & self._mask
        return at

    cdef uint32_t index_of(self, uint64_t id) noexcept:
        """The index of an id, or NONE."""
        return self._buckets[self._bucket(id)]

    cdef int _rehash(self, size_t buckets) except -1:
        """Make the hash table this long (a power of two)."""
        cdef uint32_t* old = self._buckets
        cdef uint32_t* new = <uint32_t*>malloc(buckets * sizeof(uint32_t))
        cdef size_t index
        if new == NULL:
            raise MemoryError
        memset(new, 0xFF, buckets * sizeof(uint32_t))
        self._buckets = new
        self._mask = buckets - 1
        for index in range(self._top):
            if self._used[index]:
                new[self._bucket(self._ids[index])] = <uint32_t>index
        free(old)
        return 0

    cdef int _reserve_dense(self, size_t size) except -1:
        """Make room for indexes below ``size``."""
        cdef uint64_t* ids
        cdef uint8_t* used
        cdef uint32_t* spare
        if size > NONE_INDEX:
            raise IndexError("0xFFFFFFFF is no index")
        if size <= self._size:
            return 0
        size = min(max(size, self._size * 2, <size_t>64), <size_t>NONE_INDEX)
        ids = <uint64_t*>realloc(self._ids, size * sizeof(uint64_t))
        if ids == NULL:
            raise MemoryError
        self._ids = ids
        used = <uint8_t*>realloc(self._used, size)
        if used == NULL:
            raise MemoryError
        self._used = used
        spare = <uint32_t*>realloc(self._free, size * sizeof(uint32_t))
        if spare == NULL:
            raise MemoryError
        self._free = spare
        memset(used + self._size, 0, size - self._size)
        self._size = size
        return 0

    cdef int _reserve(self, size_t more) except -1:
        """Make room for so many more ids, so that adding them cannot fail."""
        cdef size_t buckets = self._mask + 1
        if more > self._free_n:
            self._reserve_dense(self._top + more - self._free_n)
        while (self._n + more) * 5 > buckets * 3:
            buckets *= 2
        if buckets > self._mask + 1:
            self._rehash(buckets)
        return 0

    cdef bint _insert(self, uint64_t id, uint32_t* index) noexcept:
        """Enter one id into the room reserved; False when it is there already."""
        cdef size_t at = self._bucket(id)
        if self._buckets[at] != NONE_INDEX:
            return False
        if self._free_n:
            self._free_n -= 1
            index[0] = self._free[self._free_n]
        else:
            index[0] = <uint32_t>self._top
            self._top += 1
        self._ids[index[0]] = id
        self._used[index[0]] = True
        self._buckets[at] = index[0]
        self._n += 1
        return True

    cdef void _erase(self, uint32_t index) noexcept:
        """Take one id out of the hash table; the index is put on no free list."""
        cdef size_t hole = self._bucket(self._ids[index])
        cdef size_t at = hole
        cdef size_t home
        while True:
            at = (at + 1) & self._mask
            if self._buckets[at] == NONE_INDEX:
                break
            home = _mix(self._ids[self._buckets[at]]) & self._mask
            if ((at - home) & self._mask) >= ((at - hole) & self._mask):
                self._buckets[hole] = self._buckets[at]
                hole = at
        self._buckets[hole] = NONE_INDEX
        self._used[index] = False
        self._n -= 1

    def add(self, ids):
        """Give each id an index."""
        cdef Column given = column64(ids)
        cdef c_array.array out = new32(given.n)
        cdef uint32_t* indexes = <uint32_t*>out.data.as_uints
        cdef size_t free_n = self._free_n
        cdef size_t top = self._top
        cdef Py_ssize_t done, i
        self._reserve(given.n)
        for done in range(given.n):
            if not self._insert(given.u64[done], indexes + done):
                # What was popped still stands above the end of the free list, so its length is all there is to undo.
                for i in range(done):
                    self._erase(indexes[i])
                self._free_n = free_n
                self._top = top
                raise KeyError(given.u64[done])
        return out

    def find(self, ids):
        """The index of each id, or NONE."""
        cdef Column given = column64(ids)
        cdef c_array.array out = new32(given.n)
        cdef Py_ssize_t i
        for i in range(given.n):
            out.data.as_uints[i] = self.index_of(given.u64[i])
        return out

    cdef int _all_used(self, Column indexes) except -1:
        cdef Py_ssize_t i
        for i in range(indexes.n):
            if indexes.u32[i] >= self._top or not self._used[indexes.u32[i]]:
                raise IndexError(f"index {indexes.u32[i]} is not in use")
        return 0

    def ids(self, indexes):
        """The ids of these indexes."""
        cdef Column chosen = column32(indexes)
        cdef c_array.array out = new64(chosen.n)
        cdef Py_ssize_t i
        self._all_used(chosen)
        for i in range(chosen.n):
            (<uint64_t*>out.data.as_voidptr)[i] = self._ids[chosen.u32[i]]
        return out

    def remove(self, indexes):
        """Free these indexes."""
        cdef Column chosen = column32(indexes)
        cdef Py_ssize_t done, i
        self._all_used(chosen)
        for done in range(chosen.n):
            if not self._used[chosen.u32[done]]:
                for i in range(done):
                    self._used[chosen.u32[i]] = True
                raise IndexError(f"index {chosen.u32[done]} stands twice in the column")
            self._used[chosen.u32[done]] = False
        for i in range(chosen.n):
            self._erase(chosen.u32[i])
            self._free[self._free_n] = chosen.u32[i]
            self._free_n += 1

    def check(self):
        """Compare the hash table, the dense columns and the free list."""
        cdef size_t i
        used = {i for i in range(self._top) if self._used[i]}
        spare = {self._free[i] for i in range(self._free_n)}
        hashed = [self._buckets[i] for i in range(self._mask + 1) if self._buckets[i] != NONE_INDEX]
        if len(used) != self._n or len(hashed) != self._n or set(hashed) != used:
            raise AssertionError(f"{len(used)} indexes in use, {len(hashed)} in the hash table, {self._n} counted")
        if len(spare) != self._free_n or spare != set(range(self._top)) - used:
            raise AssertionError("the free list differs from the indexes not in use")
        for index in used:
            if self.index_of(self._ids[<uint32_t>index]) != index:
                raise AssertionError(f"id {self._ids[<uint32_t>index]} is not found at index {index}")
        for i in range(self._top, self._size):
            if self._used[i]:
                raise AssertionError(f"index {i} is in use but was never given out")
