"""Columns: buffers of packed u32 or u64 numbers, as C pointers going in and as arrays coming out."""

from array import array

from cpython cimport array as c_array
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t, uint64_t, uintptr_t

cdef c_array.array _U32 = array("I")
cdef c_array.array _U64 = array("Q")


cdef class Column:
    def __dealloc__(self):
        if self.open:
            PyBuffer_Release(&self.buffer)


cdef Column _column(object source, Py_ssize_t width):
    cdef Column column = Column.__new__(Column)
    PyObject_GetBuffer(source, &column.buffer, PyBUF_ND | PyBUF_FORMAT)
    column.open = True
    if column.buffer.itemsize != 1 and column.buffer.itemsize != width:
        raise ValueError(f"a column of {width}-byte numbers is needed, not of {column.buffer.itemsize}-byte items")
    if column.buffer.len % width:
        raise ValueError(f"a column of {width}-byte numbers cannot have {column.buffer.len} bytes")
    if <uintptr_t>column.buffer.buf % width:
        # A slice of a frame may begin anywhere, but C wants its numbers aligned; new bytes are.
        return _column(PyBytes_FromStringAndSize(<const char*>column.buffer.buf, column.buffer.len), width)
    column.n = column.buffer.len // width
    return column


cdef Column column32(object source):
    """A u32 column; raises ValueError for another width or an incomplete number."""
    cdef Column column = _column(source, sizeof(uint32_t))
    column.u32 = <const uint32_t*>column.buffer.buf
    return column


cdef Column column64(object source):
    """A u64 column; raises ValueError for another width or an incomplete number."""
    cdef Column column = _column(source, sizeof(uint64_t))
    column.u64 = <const uint64_t*>column.buffer.buf
    return column


cdef c_array.array new32(Py_ssize_t n):
    """An array('I') of n numbers, not set yet."""
    return c_array.clone(_U32, n, zero=False)


cdef c_array.array new64(Py_ssize_t n):
    """An array('Q') of n numbers, not set yet."""
    return c_array.clone(_U64, n, zero=False)
