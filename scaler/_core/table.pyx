"""Tables by columns of indexes; table.pyi has the contract."""

from cpython cimport array as c_array
from libc.stdint cimport int64_t, uint32_t, uint64_t

from scaler._core.columns cimport Column, column32, column64, new32, new64

cdef uint64_t _LOW_BITS = 40
cdef uint64_t _LOW = (<uint64_t>1 << _LOW_BITS) - 1


cdef Py_ssize_t _end(Column indexes) except -1:
    """One more than the highest index."""
    cdef Py_ssize_t end = 0
    cdef Py_ssize_t i
    for i in range(indexes.n):
        if indexes.u32[i] >= end:
            end = <Py_ssize_t>indexes.u32[i] + 1
    if end == 0x100000000:
        raise IndexError("0xFFFFFFFF is no index")
    return end


cdef int _is_table(c_array.array table) except -1:
    if table is None or table.typecode != "I":
        raise TypeError("a table is an array of type 'I'")
    return 0


cdef int _grow(c_array.array table, Py_ssize_t end) except -1:
    cdef Py_ssize_t old
    _is_table(table)
    old = len(table)
    if end > old:
        # Not array.resize: it would move the numbers away under whoever holds a buffer of this table.
        table.frombytes(bytes((max(end, old + (old >> 1)) - old) * sizeof(uint32_t)))
    return 0


cdef int _inside(Column indexes, Py_ssize_t size) except -1:
    if _end(indexes) > size:
        raise IndexError(f"index {_end(indexes) - 1} is outside of a table of {size}")
    return 0


cdef int _same_length(Py_ssize_t indexes, Py_ssize_t values) except -1:
    if indexes != values:
        raise ValueError(f"{indexes} indexes, {values} values")
    return 0


def fill(c_array.array table, indexes, uint32_t value):
    cdef Column chosen = column32(indexes)
    cdef Py_ssize_t i
    _grow(table, _end(chosen))
    for i in range(chosen.n):
        table.data.as_uints[chosen.u32[i]] = value


def scatter(c_array.array table, indexes, values):
    cdef Column chosen = column32(indexes)
    cdef Column given = column32(values)
    cdef Py_ssize_t i
    _same_length(chosen.n, given.n)
    _grow(table, _end(chosen))
    for i in range(chosen.n):
        table.data.as_uints[chosen.u32[i]] = given.u32[i]


def gather(c_array.array table, indexes):
    cdef Column chosen = column32(indexes)
    cdef c_array.array out = new32(chosen.n)
    cdef Py_ssize_t i
    _is_table(table)
    _inside(chosen, len(table))
    for i in range(chosen.n):
        out.data.as_uints[i] = table.data.as_uints[chosen.u32[i]]
    return out


def add_at(c_array.array table, indexes, int64_t amount):
    cdef Column chosen = column32(indexes)
    cdef Py_ssize_t i
    _grow(table, _end(chosen))
    for i in range(chosen.n):
        table.data.as_uints[chosen.u32[i]] += <uint32_t>amount


def scatter_objects(list table, indexes, list values):
    cdef Column chosen = column32(indexes)
    cdef Py_ssize_t end = _end(chosen)
    cdef Py_ssize_t i
    _same_length(chosen.n, len(values))
    if end > len(table):
        table.extend([None] * (end - len(table)))
    for i in range(chosen.n):
        table[chosen.u32[i]] = values[i]


def gather_objects(list table, indexes):
    cdef Column chosen = column32(indexes)
    cdef Py_ssize_t i
    _inside(chosen, len(table))
    return [table[chosen.u32[i]] for i in range(chosen.n)]


def clear_objects(list table, indexes):
    cdef Column chosen = column32(indexes)
    cdef Py_ssize_t size = len(table)
    cdef Py_ssize_t i
    for i in range(chosen.n):
        if chosen.u32[i] < size:
            table[chosen.u32[i]] = None


def join_ids(uint64_t high, low):
    cdef Column given = column64(low)
    cdef c_array.array out = new64(given.n)
    cdef Py_ssize_t i
    if high >> (64 - _LOW_BITS):
        raise ValueError(f"{high} has more than {64 - _LOW_BITS} bits")
    for i in range(given.n):
        if given.u64[i] > _LOW >> 1:
            raise ValueError(f"{given.u64[i]} has more than {_LOW_BITS - 1} bits")
        (<uint64_t*>out.data.as_voidptr)[i] = high << _LOW_BITS | given.u64[i]
    return out


def split_ids(ids):
    cdef Column given = column64(ids)
    cdef c_array.array out = new64(given.n)
    cdef Py_ssize_t i
    for i in range(given.n):
        (<uint64_t*>out.data.as_voidptr)[i] = given.u64[i] & _LOW
    return out


def same_high(ids):
    cdef Column given = column64(ids)
    cdef Py_ssize_t i
    if not given.n:
        return -1
    for i in range(1, given.n):
        if given.u64[i] >> _LOW_BITS != given.u64[0] >> _LOW_BITS:
            return -1
    return given.u64[0] >> _LOW_BITS


def sum_and_max(values):
    cdef Column given = column64(values)
    cdef uint64_t total = 0
    cdef uint64_t most = 0
    cdef Py_ssize_t i
    for i in range(given.n):
        total += given.u64[i]
        if given.u64[i] > most:
            most = given.u64[i]
    return total, most
