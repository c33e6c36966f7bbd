# cython: auto_pickle=False, autotestdict=False
"""Bytes objects that lie in mappings; lent_bytes.pyi has the contract."""

from cpython.bytes cimport PyBytes_GET_SIZE
from cpython.memoryview cimport PyMemoryView_Check, PyMemoryView_GET_BUFFER
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uintptr_t
from libc.string cimport memset
from posix.mman cimport PROT_READ, PROT_WRITE, mprotect

from scaler.storage.mapping cimport Mapping

from scaler.storage.mapping import PAGE as _PAGE

cdef extern from *:
    """
    /* Without the interpreter's lock a reference may be had at any time. */
    #ifdef Py_GIL_DISABLED
    #define SCALER_LENDS 0
    #else
    #define SCALER_LENDS 1
    #endif
    #define SCALER_HEAD (offsetof(PyBytesObject, ob_sval))

    /* What PyBytes_FromStringAndSize() has before the bytes. */
    static PyObject* scaler_begin_bytes(char* content, Py_ssize_t size) {
        PyVarObject* made = (PyVarObject*)(content - SCALER_HEAD);
        PyObject_InitVar(made, &PyBytes_Type, size);
        _Py_COMP_DIAG_PUSH
        _Py_COMP_DIAG_IGNORE_DEPR_DECLS
        ((PyBytesObject*)made)->ob_shash = -1;
        _Py_COMP_DIAG_POP
        return (PyObject*)made;
    }

    static Py_ssize_t scaler_references(PyObject* object) { return Py_REFCNT(object); }
    """
    const bint SCALER_LENDS
    const Py_ssize_t SCALER_HEAD
    object scaler_begin_bytes(char* content, Py_ssize_t size)
    Py_ssize_t scaler_references(PyObject* object)

cdef uintptr_t PAGE_SIZE = _PAGE


cdef class LentBytes:
    def __cinit__(self, Py_ssize_t least, Py_ssize_t most):
        self._mappings = {}
        self._least = least
        self._most = most

    def __len__(self):
        return len(self._mappings)

    def copy(self, view, /):
        cdef Py_buffer* buffer
        if SCALER_LENDS and PyMemoryView_Check(view) and view.c_contiguous:
            buffer = PyMemoryView_GET_BUFFER(view)
            if buffer.len >= self._least and <PyObject*>buffer.obj != NULL and type(buffer.obj) is Mapping:
                made = self._lend(<Mapping>buffer.obj, <char*>buffer.buf, buffer.len)
                if made is not None:
                    return made
        return bytes(view)

    def sweep(self):
        cdef uintptr_t content
        cdef PyObject* lent
        if not self._mappings:
            return
        for key in list(self._mappings):
            content = key
            lent = <PyObject*>(content - SCALER_HEAD)
            # That is ours, which is in no object that Python knows: nobody can get another one.
            if scaler_references(lent) == 1:
                memset(lent, 0, SCALER_HEAD)
                mapping = self._mappings.pop(key)
                Py_DECREF(mapping)

    cdef object _lend(self, Mapping owner, char* content, Py_ssize_t size):
        cdef uintptr_t begin = <uintptr_t>content, head = begin - SCALER_HEAD, end = begin + size
        cdef Py_ssize_t i
        if begin in self._mappings:
            made = <object><PyObject*>head
            return made if PyBytes_GET_SIZE(made) == size else None
        if len(self._mappings) >= self._most:
            self.sweep()
            if len(self._mappings) >= self._most:
                return None
        if head < <uintptr_t>owner._address or begin % sizeof(void*):
            return None
        for i in range(SCALER_HEAD):
            if (<char*>head)[i]:
                return None  # There is more than padding.
        if content[size]:
            # An older object may have left something behind the end, in its last page.
            if end != <uintptr_t>owner._address + owner._size or not own(end, 1):
                return None
            content[size] = 0
        if not own(head, SCALER_HEAD):
            return None
        made = scaler_begin_bytes(content, size)
        # Both are held without an object that would let them go when the interpreter ends, before those who have the bytes.
        Py_INCREF(made)
        Py_INCREF(owner)
        self._mappings[begin] = owner
        return made


cdef bint own(uintptr_t begin, Py_ssize_t size):
    """Have these bytes written to by this process, for itself alone; whether that can be done."""
    cdef uintptr_t page = begin // PAGE_SIZE * PAGE_SIZE
    return mprotect(<void*>page, begin - page + size, PROT_READ | PROT_WRITE) == 0
