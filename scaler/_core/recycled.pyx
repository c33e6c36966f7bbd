# cython: auto_pickle=False, autotestdict=False
"""Bytes objects whose memory is used again; recycled.pyi has the contract."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.list cimport PyList_GET_ITEM
from cpython.object cimport PyObject
from libc.string cimport memcpy

cdef extern from *:
    """
    /* A bytes object that nobody else has seen: of another length, and with its hash not known yet. */
    static void scaler_made_anew(PyObject* made, Py_ssize_t size) {
        _Py_COMP_DIAG_PUSH
        _Py_COMP_DIAG_IGNORE_DEPR_DECLS
        ((PyBytesObject*)made)->ob_shash = -1;
        _Py_COMP_DIAG_POP
        Py_SET_SIZE((PyVarObject*)made, size);
        PyBytes_AS_STRING(made)[size] = 0;
    }
    """
    void scaler_made_anew(PyObject* made, Py_ssize_t size)


cdef enum:
    SMALL = 4096


cdef class Recycled:
    def __cinit__(self, Py_ssize_t limit):
        self._held = []
        self._rooms = []
        self._limit = limit
        self.size = 0

    def copy(self, data, /):
        cdef Py_buffer view
        PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
        try:
            if view.len < SMALL:
                return PyBytes_FromStringAndSize(<char*>view.buf, view.len)
            made = self._take(view.len)
            memcpy(PyBytes_AS_STRING(made), view.buf, view.len)
            return made
        finally:
            PyBuffer_Release(&view)

    def clear(self):
        self._held.clear()
        self._rooms.clear()
        self.size = 0

    def __len__(self):
        return len(self._held)

    cdef object _take(self, Py_ssize_t size):
        cdef Py_ssize_t place, room
        cdef PyObject* held
        for place in range(len(self._held)):
            held = <PyObject*>PyList_GET_ITEM(self._held, place)
            room = self._rooms[place]
            # One reference, which is that of the list: so nobody can ever find out that it was another object.
            if held.ob_refcnt == 1 and size <= room <= size + size // 4:
                made = self._held.pop(place)
                self._rooms.append(self._rooms.pop(place))
                scaler_made_anew(<PyObject*>made, size)
                self._held.append(made)
                return made
        made = PyBytes_FromStringAndSize(NULL, size)
        self._held.append(made)
        self._rooms.append(size)
        self.size += size
        while self.size > self._limit:
            self.size -= self._rooms.pop(0)
            del self._held[0]
        return made
