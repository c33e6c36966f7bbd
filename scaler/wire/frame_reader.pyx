"""Bytes in, in pieces of any size; whole frames out."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from scaler.wire import framing

cdef enum:
    HEADER_BYTES = 8
    WORTH_THE_MOVE = 1 << 20
    # Of an attachment that is received where it stays.
    LARGE = 64 << 10

cdef Py_ssize_t _MAX_HANDSHAKE_BYTES = framing.MAX_HANDSHAKE_BYTES


cdef class FrameReader:
    """What a connection has received. Remembers the first error and returns nothing after it.

    What was fed is read where it is, and must stay as it is until take() returns None; only frames that are not whole by then
    are copied. Of a large attachment that is not whole, the ``rest`` can be received to where it belongs.
    """

    cdef bytearray _kept
    cdef Py_buffer _fed
    cdef bint _reads_fed
    cdef Py_ssize_t _start  # of what was not handed out, in what was fed or in what is kept
    cdef Py_ssize_t _end  # of what was fed
    cdef bytes _message  # of the frame whose attachment is being received
    cdef bytearray _attachment
    cdef Py_ssize_t _filled
    cdef bint _handshake
    cdef readonly object error

    def __cinit__(self):
        self._kept = bytearray()
        self._handshake = True

    def __dealloc__(self):
        if self._reads_fed:
            PyBuffer_Release(&self._fed)

    @property
    def kept(self):
        """How many bytes are held here."""
        return PyByteArray_GET_SIZE(self._kept)

    def handshake_done(self):
        """From here on frames may have their full size, and attachments."""
        self._handshake = False

    @property
    def rest(self):
        """Where the next bytes belong, if they are an attachment's; received() has to be told of them."""
        if self._attachment is None:
            return None
        return memoryview(self._attachment)[self._filled:]

    def received(self, Py_ssize_t size):
        """So many bytes were put into the rest."""
        if self._attachment is None or size > PyByteArray_GET_SIZE(self._attachment) - self._filled:
            raise ValueError(f"{size} bytes are more than the rest")
        self._filled += size

    def feed(self, data, Py_ssize_t size=-1):
        """Take what has arrived: the first ``size`` bytes of data, or all of it."""
        if self._reads_fed:
            self._keep()
        PyObject_GetBuffer(data, &self._fed, PyBUF_SIMPLE)
        self._reads_fed = True
        self._end = self._fed.len if size < 0 or size > self._fed.len else size
        if self._attachment is not None:
            size = min(self._end, PyByteArray_GET_SIZE(self._attachment) - self._filled)
            memcpy(PyByteArray_AS_STRING(self._attachment) + self._filled, self._fed.buf, size)
            self._filled += size
            self._start = size
        elif PyByteArray_GET_SIZE(self._kept):
            try:
                self._kept += (<const char*>self._fed.buf)[:self._end]
            finally:
                self._release()
        else:
            self._start = 0

    def take(self):
        """The next (message, attachment), or None when no whole one is left or one breaks the rules; see error."""
        cdef const char* at
        cdef Py_ssize_t left, message_bytes, attachment_bytes
        cdef uint32_t lengths[2]
        if self._attachment is not None:
            if self._filled < PyByteArray_GET_SIZE(self._attachment):
                if self._reads_fed:
                    self._release()
                return None
            whole = self._message, self._attachment
            self._message = self._attachment = None
            return whole
        if self._reads_fed:
            at, left = <const char*>self._fed.buf + self._start, self._end - self._start
        else:
            at = PyByteArray_AS_STRING(self._kept) + self._start
            left = PyByteArray_GET_SIZE(self._kept) - self._start
        if left >= HEADER_BYTES and self.error is None:
            memcpy(lengths, at, HEADER_BYTES)
            message_bytes, attachment_bytes = lengths[0], lengths[1]
            if self._judge(message_bytes, attachment_bytes) and left >= HEADER_BYTES + message_bytes + attachment_bytes:
                self._start += HEADER_BYTES + message_bytes + attachment_bytes
                return (
                    PyBytes_FromStringAndSize(at + HEADER_BYTES, message_bytes),
                    PyBytes_FromStringAndSize(at + HEADER_BYTES + message_bytes, attachment_bytes),
                )
            if self.error is None and attachment_bytes >= LARGE and left >= HEADER_BYTES + message_bytes:
                self._receive_attachment(at + HEADER_BYTES, message_bytes, attachment_bytes, left - HEADER_BYTES - message_bytes)
                return None
        self._keep()
        return None

    cdef int _receive_attachment(
        self, const char* at, Py_ssize_t message_bytes, Py_ssize_t attachment_bytes, Py_ssize_t there
    ) except -1:
        """The last frame's attachment is not whole: what is there goes to where the rest will be received."""
        self._message = PyBytes_FromStringAndSize(at, message_bytes)
        attachment = PyByteArray_FromStringAndSize(NULL, attachment_bytes)
        memcpy(PyByteArray_AS_STRING(attachment), at + message_bytes, there)
        self._attachment, self._filled = attachment, there
        if self._reads_fed:
            self._release()
        self._kept.clear()
        self._start = 0
        return 0

    cdef bint _judge(self, Py_ssize_t message_bytes, Py_ssize_t attachment_bytes) except -1:
        if message_bytes < 8 or message_bytes % 8 or attachment_bytes or message_bytes > _MAX_HANDSHAKE_BYTES:
            self.error = framing.wrong_frame(message_bytes, attachment_bytes, self._handshake)
        return self.error is None

    cdef int _keep(self) except -1:
        """Copy what is left of what was fed, and drop what was handed out once it is worth the move."""
        if self._reads_fed:
            try:
                if self._start < self._end:
                    self._kept += (<const char*>self._fed.buf)[self._start:self._end]
            finally:
                self._release()
            self._start = 0
        elif self._start == PyByteArray_GET_SIZE(self._kept):
            self._kept.clear()
            self._start = 0
        elif self._start > WORTH_THE_MOVE:
            del self._kept[: self._start]
            self._start = 0
        return 0

    cdef int _release(self) except -1:
        self._reads_fed = False
        PyBuffer_Release(&self._fed)
        return 0
