"""Sums and distributions of what calls took; tally.pyi has the contract."""

from cpython cimport array as c_array
from libc.stdint cimport uint32_t, uint64_t

from scaler._core.columns cimport Column, column32, column64

cdef enum:
    # A row: eight sums and maxima, then two distributions.
    CALLS = 0
    FAILED_ = 1
    CANCELLED_ = 2
    RETRIED_ = 3
    WALL_ = 4
    LONGEST_ = 5
    CPU_ = 6
    PEAK_ = 7
    HEAD = 8
    # Eight buckets for each power of two, up to 2**40.
    PARTS = 8
    PART_BITS = 3
    ALL_BUCKETS = 304
    ROW = HEAD + 2 * ALL_BUCKETS

cdef uint64_t MOST = (<uint64_t>1 << 40) - 1
cdef uint32_t NONE = 0xFFFFFFFF

GOOD, FAILED, CANCELLED = 0, 1, 2
BUCKETS = ALL_BUCKETS
WIDTH = ROW


cdef inline Py_ssize_t _bucket(uint64_t value) noexcept:
    cdef int shift = 0
    if value > MOST:
        value = MOST
    if value < PARTS:
        return <Py_ssize_t>value
    while (value >> shift) >= 2 * PARTS:
        shift += 1
    return (shift + 1) * PARTS + <Py_ssize_t>((value >> shift) - PARTS)


def bucket_bounds(Py_ssize_t bucket):
    if not 0 <= bucket < ALL_BUCKETS:
        raise IndexError(f"bucket {bucket} of {ALL_BUCKETS}")
    if bucket < PARTS:
        return bucket, bucket + 1
    cdef int shift = <int>(bucket // PARTS - 1)
    cdef uint64_t low = <uint64_t>(PARTS + bucket % PARTS) << shift
    return low, low + (<uint64_t>1 << shift)


def add_calls(c_array.array table, places, const unsigned char[:] kinds, counts, wall, cpu, peak, uint64_t slow):
    cdef Column chosen = column32(places)
    cdef Column many = column32(counts)
    cdef Column walls = column64(wall)
    cdef Column cpus = column64(cpu)
    cdef Column peaks = column64(peak)
    cdef uint64_t* row
    cdef uint64_t count, mean
    cdef Py_ssize_t i, rows
    cdef list slowest = []
    if table.typecode != "Q":
        raise TypeError("a tally is an array of type 'Q'")
    if not (chosen.n == kinds.shape[0] == walls.n == cpus.n == peaks.n and many.n in (0, chosen.n)):
        raise ValueError("columns of different lengths")
    rows = len(table) // ROW
    for i in range(chosen.n):
        if chosen.u32[i] != NONE and chosen.u32[i] >= rows:
            raise IndexError(f"place {chosen.u32[i]} of {rows}")
    for i in range(chosen.n):
        count = many.u32[i] if many.n else 1
        if chosen.u32[i] == NONE or not count:
            continue
        row = <uint64_t*>table.data.as_voidptr + <Py_ssize_t>chosen.u32[i] * ROW
        row[CALLS] += count
        if kinds[i]:
            row[FAILED_ if kinds[i] == 1 else CANCELLED_] += count
            if not walls.u64[i]:
                continue  # It never began.
        mean = walls.u64[i] // count
        row[WALL_] += walls.u64[i]
        row[CPU_] += cpus.u64[i]
        row[LONGEST_] = max(row[LONGEST_], mean)
        row[PEAK_] = max(row[PEAK_], peaks.u64[i])
        row[HEAD + _bucket(mean)] += count
        row[HEAD + ALL_BUCKETS + _bucket(cpus.u64[i] // count)] += count
        if mean >= slow:
            slowest.append(i)
    return slowest
