"""Messages to a Cap'n Proto segment and back, without a reader or a builder in between.

A ``StructPlan`` says where the fields of a struct stand, and which slots of its message class they fill; ``scaler.wire.codec``
makes the plans from the schemas. The two codecs follow them over the bytes themselves. They handle what everybody writes:
one segment, lists of the kind that the schema has. Whatever is different is handed to the dynamic codec, which knows
all of Cap'n Proto and says what is wrong with a message: far pointers, upgraded lists, text that is not UTF-8, numbers that do
not fit, and everything that is broken.

Nothing here trusts a message. A pointer is followed only when all that it points to lies inside of the segment, so
nothing is allocated for what has not arrived. No word is read twice in what everybody writes: a message that asks for
more words than it has is handed on as well. Nesting follows the schemas, which have an end.

Hosts are little-endian, as the columns are.
"""

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.long cimport PyLong_AsLongLong, PyLong_AsUnsignedLongLong, PyLong_Check, PyLong_FromUnsignedLongLong
from cpython.mem cimport PyMem_Calloc, PyMem_Free
from cpython.object cimport PyObject_GetAttr, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_XDECREF, PyObject
from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from scaler.wire import framing

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object, Py_ssize_t*) except NULL
    int _PyBytes_Resize(PyObject**, Py_ssize_t) except -1
    PyObject* bytes_new "PyBytes_FromStringAndSize"(const char*, Py_ssize_t) except NULL
    PyTypeObject* Py_TYPE(PyObject*)
    char* bytes_start "PyBytes_AS_STRING"(PyObject*)

cdef enum Kind:
    BOOL, UNSIGNED, SIGNED, FLOAT, TEXT, DATA, STRUCT, LIST_OF_TEXT, LIST_OF_DATA, LIST_OF_STRUCT

cdef Py_ssize_t _MAX_MESSAGE_BYTES = framing.MAX_MESSAGE_BYTES
cdef Py_ssize_t _MAX_ATTACHMENT_BYTES = framing.MAX_ATTACHMENT_BYTES
cdef Py_ssize_t _MAX_STRUCTS = framing.MAX_STRUCTS
cdef tuple _NO_ARGUMENTS = ()

_KINDS = {
    "bool": (BOOL, 0),
    "enum": (UNSIGNED, 2),
    "uint8": (UNSIGNED, 1), "uint16": (UNSIGNED, 2), "uint32": (UNSIGNED, 4), "uint64": (UNSIGNED, 8),
    "int8": (SIGNED, 1), "int16": (SIGNED, 2), "int32": (SIGNED, 4), "int64": (SIGNED, 8),
    "float32": (FLOAT, 4), "float64": (FLOAT, 8),
    "text": (TEXT, 0), "data": (DATA, 0), "struct": (STRUCT, 0),
    "list of text": (LIST_OF_TEXT, 0), "list of data": (LIST_OF_DATA, 0), "list of struct": (LIST_OF_STRUCT, 0),
}  # fmt: skip

cdef enum:
    WORD = 8
    STRUCT_POINTER = 0
    LIST_POINTER = 1
    BYTES = 2  # the element sizes of lists
    POINTERS = 6
    COMPOSITE = 7
    FIRST_CAPACITY = 448  # with the head of a bytes object, what Python's own allocator still gives
    LARGEST_COUNT = (1 << 29) - 1  # of list elements, and of words between a pointer and what it points to

cdef struct Field:
    Kind kind
    uint32_t width  # bytes of a number
    uint32_t offset  # bits of a bool, bytes of a number, pointers of everything else; from the start of their section
    PyObject* name  # borrowed, as the two below: the plan holds them
    PyObject* slot
    PyObject* plan


class Unusual(Exception):
    """Not for this module. Does not leave it."""


@cython.final
cdef class StructPlan:
    """How one struct lies in a segment and in its message class.

    ``fields`` are (type, offset, attribute, plan) in the order of the class: the type as in Cap'n Proto, "list of …" for
    lists; the offset in units of the type, as schemas have it; the plan of the struct, or of the list's structs, or None.
    Raises KeyError for a type that is not known here.
    """

    cdef Field* fields
    cdef Py_ssize_t n
    cdef readonly type message
    cdef uint16_t data_words
    cdef uint16_t pointers
    cdef list held

    def __cinit__(self, type message, int data_words, int pointers, list fields):
        self.message = message
        self.data_words = data_words
        self.pointers = pointers
        self.held = []
        self.n = len(fields)
        self.fields = <Field*>PyMem_Calloc(max(1, self.n), sizeof(Field))
        if self.fields is NULL:
            raise MemoryError()
        cdef Py_ssize_t i
        cdef Field* field
        for i, (kind, offset, name, plan) in enumerate(fields):
            field = &self.fields[i]
            field.kind, field.width = _KINDS[kind]
            field.offset = offset * field.width if field.width else offset
            slot = getattr(message, name)
            self.held += name, slot, plan
            field.name, field.slot, field.plan = <PyObject*>name, <PyObject*>slot, <PyObject*>plan

    def __dealloc__(self):
        PyMem_Free(self.fields)


# ---- reading


cdef struct Segment:
    const unsigned char* start
    Py_ssize_t words
    Py_ssize_t unread  # how many words may still be asked for


cdef struct Place:  # of a struct
    Py_ssize_t data  # words from the start of the segment
    Py_ssize_t data_bytes
    Py_ssize_t pointers
    Py_ssize_t pointer_count


cdef inline uint64_t _word(const Segment* segment, Py_ssize_t at) noexcept:
    cdef uint64_t word
    memcpy(&word, segment.start + WORD * at, WORD)
    return word


cdef inline Py_ssize_t _target(uint64_t pointer, Py_ssize_t at) noexcept:
    return at + 1 + (<int32_t><uint32_t>pointer >> 2)


cdef inline int _take(Segment* segment, Py_ssize_t at, Py_ssize_t words) except -1:
    """Make sure that these words are there and were not all asked for before."""
    segment.unread -= words
    if at < 0 or at + words > segment.words or segment.unread < 0:
        raise Unusual("a pointer out of bounds")
    return 0


cdef inline void _lay(Place* place, uint64_t pointer, Py_ssize_t at) noexcept:
    place.data = at
    place.data_bytes = <uint16_t>(pointer >> 32) * WORD
    place.pointers = at + <uint16_t>(pointer >> 32)
    place.pointer_count = <uint16_t>(pointer >> 48)


cdef int _follow_struct(Segment* segment, Py_ssize_t at, Place* place) except -1:
    cdef uint64_t pointer = _word(segment, at)
    cdef Py_ssize_t target = _target(pointer, at)
    if pointer == 0:
        memset(place, 0, sizeof(Place))
        return 0
    if pointer & 3 != STRUCT_POINTER:
        raise Unusual("not a struct")
    _take(segment, target, <uint16_t>(pointer >> 32) + <uint16_t>(pointer >> 48))
    _lay(place, pointer, target)
    return 0


cdef Py_ssize_t _follow_list(Segment* segment, Py_ssize_t at, int size, Py_ssize_t* count) except -1:
    """Where a list begins; ``count`` becomes its elements (pointers or bytes), or its words without the tag."""
    cdef uint64_t pointer = _word(segment, at)
    cdef Py_ssize_t target = _target(pointer, at)
    if pointer == 0:
        count[0] = 0
        return 0
    if pointer & 3 != LIST_POINTER or <int>(pointer >> 32 & 7) != size:
        raise Unusual("not a list of this kind")
    count[0] = pointer >> 35
    if size == BYTES:
        _take(segment, target, (count[0] + WORD - 1) // WORD)
    else:
        _take(segment, target, count[0] + (size == COMPOSITE))
    return target


cdef object _read_data(Segment* segment, Py_ssize_t at):
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t start = _follow_list(segment, at, BYTES, &count)
    return PyBytes_FromStringAndSize(<const char*>segment.start + WORD * start, count)


cdef object _read_text(Segment* segment, Py_ssize_t at):
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t start
    if _word(segment, at) == 0:
        return ""
    start = _follow_list(segment, at, BYTES, &count)
    if count == 0 or segment.start[WORD * start + count - 1] != 0:
        raise Unusual("text without its NUL")
    return PyUnicode_DecodeUTF8(<const char*>segment.start + WORD * start, count - 1, NULL)


cdef list _read_pointers(Segment* segment, Py_ssize_t at, bint text):
    cdef Py_ssize_t count = 0
    cdef Py_ssize_t start = _follow_list(segment, at, POINTERS, &count)
    cdef list entries = PyList_New(count)
    cdef Py_ssize_t i
    cdef object entry
    for i in range(count):
        entry = _read_text(segment, start + i) if text else _read_data(segment, start + i)
        Py_INCREF(entry)
        PyList_SET_ITEM(entries, i, entry)
    return entries


cdef list _read_structs(StructPlan plan, Segment* segment, Py_ssize_t at):
    cdef Py_ssize_t words = 0
    cdef Py_ssize_t start, count, step, i
    cdef uint64_t tag
    cdef Place place
    cdef list entries = []
    if _word(segment, at) == 0:
        return entries
    start = _follow_list(segment, at, COMPOSITE, &words)
    tag = _word(segment, start)
    count = <uint32_t>tag >> 2
    step = <uint16_t>(tag >> 32) + <uint16_t>(tag >> 48)
    # Structs of no size would make many of nothing, small ones much of little.
    if tag & 3 != STRUCT_POINTER or count * step > words or (step == 0 and count) or count > _MAX_STRUCTS:
        raise Unusual("not a list of structs")
    for i in range(count):
        _lay(&place, tag, start + 1 + i * step)
        entries.append(_read_struct(plan, segment, &place))
    return entries


cdef object _read_number(const Field* field, const unsigned char* at):
    cdef uint64_t bits = 0
    cdef float single
    cdef double double_
    if field.kind == FLOAT:
        if field.width == 4:
            memcpy(&single, at, 4)
            return <double>single
        memcpy(&double_, at, 8)
        return double_
    if field.width == 4:
        memcpy(&bits, at, 4)
        return bits if field.kind == UNSIGNED else <int32_t>bits
    if field.width == 8:
        memcpy(&bits, at, 8)
        return bits if field.kind == UNSIGNED else <int64_t>bits
    if field.width == 2:
        memcpy(&bits, at, 2)
        return bits if field.kind == UNSIGNED else <int16_t>bits
    bits = at[0]
    return bits if field.kind == UNSIGNED else <int8_t>bits


cdef object _read_fixed(const Field* field, Segment* segment, const Place* place):
    """A field of the data section; what a shorter one does not have is zero."""
    cdef const unsigned char* data = segment.start + WORD * place.data
    cdef uint64_t zero = 0
    if field.kind == BOOL:
        return (field.offset >> 3) < place.data_bytes and (data[field.offset >> 3] >> (field.offset & 7)) & 1 == 1
    if <Py_ssize_t>field.offset + field.width > place.data_bytes:
        return _read_number(field, <const unsigned char*>&zero)
    return _read_number(field, data + field.offset)


cdef object _read_pointer(const Field* field, Segment* segment, const Place* place):
    """A field of the pointer section; what a shorter one does not have is empty."""
    cdef Place nested
    cdef Py_ssize_t at = place.pointers + field.offset
    cdef bint there = <Py_ssize_t>field.offset < place.pointer_count
    if field.kind == DATA:
        return _read_data(segment, at) if there else b""
    if field.kind == TEXT:
        return _read_text(segment, at) if there else ""
    if field.kind == STRUCT:
        memset(&nested, 0, sizeof(Place))
        if there:
            _follow_struct(segment, at, &nested)
        return _read_struct(<StructPlan>field.plan, segment, &nested)
    if not there:
        return []
    if field.kind == LIST_OF_STRUCT:
        return _read_structs(<StructPlan>field.plan, segment, at)
    return _read_pointers(segment, at, field.kind == LIST_OF_TEXT)


cdef object _read_struct(StructPlan plan, Segment* segment, const Place* place):
    # The slots are filled as __init__ would, without its frame.
    cdef object message = (<PyTypeObject*>plan.message).tp_new(plan.message, <PyObject*>_NO_ARGUMENTS, NULL)
    cdef const Field* field
    cdef Py_ssize_t i
    cdef object value
    for i in range(plan.n):
        field = &plan.fields[i]
        value = _read_fixed(field, segment, place) if field.kind < TEXT else _read_pointer(field, segment, place)
        Py_TYPE(field.slot).tp_descr_set(<object>field.slot, message, value)
    return message


cdef int _open(bytes data, Segment* segment, Place* root) except -1:
    """The root of a message that is one segment."""
    cdef const unsigned char* start = <const unsigned char*>PyBytes_AS_STRING(data)
    cdef uint32_t table[2]
    if PyBytes_GET_SIZE(data) < 2 * WORD:
        raise Unusual("no room for a root")
    memcpy(table, start, WORD)
    segment.start = start + WORD
    segment.words = segment.unread = table[1]
    if table[0] != 0 or (segment.words + 1) * WORD != PyBytes_GET_SIZE(data):
        raise Unusual("not one segment")
    segment.unread -= 1
    return _follow_struct(segment, 0, root)


# ---- writing


@cython.final
@cython.freelist(4)
cdef class Writer:
    """Bytes that grow. Places in them are offsets from the start, since growing moves them."""

    cdef PyObject* buffer
    cdef unsigned char* start
    cdef Py_ssize_t used
    cdef Py_ssize_t capacity

    def __cinit__(self):
        self.buffer = bytes_new(NULL, FIRST_CAPACITY)
        self.start = <unsigned char*>bytes_start(self.buffer)
        self.capacity = FIRST_CAPACITY

    def __dealloc__(self):
        Py_XDECREF(self.buffer)

    cdef Py_ssize_t reserve(self, Py_ssize_t words) except -1:
        """Words at the end, which the caller sets."""
        cdef Py_ssize_t at = self.used
        cdef Py_ssize_t wanted = at + WORD * words
        if wanted > self.capacity:
            self.resize(max(2 * self.capacity, wanted))
        self.used = wanted
        return at

    cdef Py_ssize_t zeroed(self, Py_ssize_t words) except -1:
        cdef Py_ssize_t at = self.reserve(words)
        memset(self.start + at, 0, WORD * words)
        return at

    cdef int resize(self, Py_ssize_t size) except -1:
        _PyBytes_Resize(&self.buffer, size)
        self.start = <unsigned char*>bytes_start(self.buffer)
        self.capacity = size
        return 0

    cdef bytes finish(self):
        self.resize(self.used)
        cdef bytes written = <bytes>self.buffer
        Py_XDECREF(self.buffer)
        self.buffer = NULL
        return written

    cdef int point(self, Py_ssize_t at, Py_ssize_t target, int kind, uint32_t upper) except -1:
        cdef Py_ssize_t offset = (target - at) // WORD - 1
        cdef uint32_t halves[2]
        if offset > LARGEST_COUNT:
            raise Unusual("too far")
        halves[0] = <uint32_t>(<uint64_t>offset << 2) | kind
        halves[1] = upper
        memcpy(self.start + at, halves, WORD)
        return 0

    cdef int point_to_list(self, Py_ssize_t at, Py_ssize_t target, int size, Py_ssize_t count) except -1:
        if count > LARGEST_COUNT:
            raise Unusual("too many")
        return self.point(at, target, LIST_POINTER, <uint32_t>count << 3 | size)

    cdef int blob(self, Py_ssize_t at, const void* content, Py_ssize_t size, Py_ssize_t written) except -1:
        """``size`` bytes of content as a list of ``written`` bytes: text has one more, its NUL."""
        cdef Py_ssize_t target = self.reserve((written + WORD - 1) // WORD)
        memcpy(self.start + target, content, size)
        memset(self.start + target + size, 0, self.used - target - size)
        return self.point_to_list(at, target, BYTES, written)

    cdef int data(self, Py_ssize_t at, object value) except -1:
        cdef Py_buffer view
        if PyBytes_CheckExact(value):
            if PyBytes_GET_SIZE(value):
                self.blob(at, PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value), PyBytes_GET_SIZE(value))
        elif value:
            PyObject_GetBuffer(value, &view, PyBUF_SIMPLE)
            try:
                self.blob(at, view.buf, view.len, view.len)
            finally:
                PyBuffer_Release(&view)
        return 0

    cdef int text(self, Py_ssize_t at, object value) except -1:
        cdef Py_ssize_t size = 0
        cdef const char* content
        if value:
            content = PyUnicode_AsUTF8AndSize(value, &size)
            self.blob(at, content, size, size + 1)
        return 0

    cdef int pointers(self, Py_ssize_t at, object value, bint text) except -1:
        cdef list entries
        cdef Py_ssize_t count, target, i
        if value:
            entries = list(value)  # nobody else can change this one meanwhile
            count = len(entries)
            target = self.zeroed(count)
            self.point_to_list(at, target, POINTERS, count)
            for i, entry in enumerate(entries):
                if text:
                    self.text(target + WORD * i, entry)
                else:
                    self.data(target + WORD * i, entry)
        return 0

    cdef int structs(self, StructPlan plan, Py_ssize_t at, object value) except -1:
        cdef list entries
        cdef Py_ssize_t step = plan.data_words + plan.pointers
        cdef Py_ssize_t count, target, i
        if value:
            entries = list(value)
            count = len(entries)
            target = self.zeroed(1 + count * step)
            self.point_to_list(at, target, COMPOSITE, count * step)
            self.point(target, target + WORD * (1 + count), STRUCT_POINTER, _sizes(plan))
            for i, entry in enumerate(entries):
                self.fields(plan, entry, target + WORD * (1 + i * step))
        return 0

    cdef int struct(self, StructPlan plan, object message, Py_ssize_t at, bint always) except -1:
        """A struct, and the pointer to it; none to one that is all defaults, unless it is said to be there always."""
        cdef Py_ssize_t before = self.used
        cdef Py_ssize_t words = plan.data_words + plan.pointers
        cdef Py_ssize_t target = self.zeroed(words)
        self.fields(plan, message, target)
        if not always and self.used == target + WORD * words and _zero(self.start + target, WORD * words):
            self.used = before
            return 0
        # A pointer to nothing that is not null points to itself.
        return self.point(at, target if words else at, STRUCT_POINTER, _sizes(plan))

    cdef int fields(self, StructPlan plan, object message, Py_ssize_t at) except -1:
        cdef Py_ssize_t pointers = at + WORD * plan.data_words
        cdef const Field* field
        cdef Py_ssize_t i, place
        cdef object value
        for i in range(plan.n):
            field = &plan.fields[i]
            value = PyObject_GetAttr(message, <object>field.name)
            place = pointers + WORD * field.offset
            if field.kind == DATA:
                self.data(place, value)
            elif field.kind == TEXT:
                self.text(place, value)
            elif field.kind == LIST_OF_DATA or field.kind == LIST_OF_TEXT:
                self.pointers(place, value, field.kind == LIST_OF_TEXT)
            elif field.kind == LIST_OF_STRUCT:
                self.structs(<StructPlan>field.plan, place, value)
            elif field.kind == STRUCT:
                self.struct(<StructPlan>field.plan, value, place, False)
            elif field.kind == BOOL:
                if value is True:
                    self.start[at + (field.offset >> 3)] |= 1 << (field.offset & 7)
                elif value:
                    raise Unusual("not a bool")
            else:
                self.number(field, at + field.offset, value)
        return 0

    cdef int number(self, const Field* field, Py_ssize_t at, object value) except -1:
        cdef uint64_t bits = 0
        cdef int64_t signed
        cdef float single
        cdef double double_
        cdef int spare = 64 - 8 * field.width
        if field.kind == FLOAT:
            double_ = value or 0.0
            single = <float>double_
            memcpy(self.start + at, <void*>&single if field.width == 4 else <void*>&double_, field.width)
            return 0
        if not PyLong_Check(value):
            raise Unusual("not an int")
        if field.kind == UNSIGNED:
            bits = PyLong_AsUnsignedLongLong(value)
            if bits << spare >> spare != bits:
                raise Unusual("too large")
        else:
            signed = PyLong_AsLongLong(value)
            bits = <uint64_t>signed
            if <int64_t>(bits << spare) >> spare != signed:
                raise Unusual("too large")
        memcpy(self.start + at, &bits, field.width)
        return 0


cdef inline uint32_t _sizes(StructPlan plan) noexcept:
    return <uint32_t>plan.pointers << 16 | plan.data_words


cdef bint _zero(const unsigned char* at, Py_ssize_t size) noexcept:
    return size == 0 or (at[0] == 0 and memcmp(at, at + 1, size - 1) == 0)


# ---- codecs


cdef class _SegmentCodec:
    """What both codecs have: messages of one union, or of one struct, as bytes and as frames.

    ``otherwise`` is asked for what is unusual; it has encode() and decode(), and raises ProtocolError where nobody can help.
    """

    cdef object _otherwise

    cdef int _write(self, Writer writer, object message, Py_ssize_t root) except -1:
        raise NotImplementedError

    cdef object _read(self, bytes data):
        raise NotImplementedError

    cdef bytes _encode(self, object message, Py_ssize_t room):
        """The message after so many bytes of room, or None where this module does not know how."""
        cdef Writer writer = Writer.__new__(Writer)
        cdef uint32_t table[2]
        cdef Py_ssize_t root
        try:
            writer.used = room + WORD
            root = writer.zeroed(1)
            self._write(writer, message, root)
        except Exception:
            return None  # what is wrong is for the other one to say
        if writer.used - root >> 35:
            return None
        table[0], table[1] = 0, <uint32_t>((writer.used - root) // WORD)
        memcpy(writer.start + room, table, WORD)
        return writer.finish()

    def encode(self, message):
        """The message as bytes. Raises ProtocolError for what cannot be said here."""
        cdef bytes data = self._encode(message, 0)
        return self._otherwise.encode(message) if data is None else data

    def frame(self, message, Py_ssize_t attachment_bytes=0):
        """The message as a frame, up to its attachment of so many bytes.

        Raises ProtocolError for what cannot be said here, and for what no receiver would take.
        """
        cdef bytes data = self._encode(message, WORD)
        cdef uint32_t lengths[2]
        if data is None:
            data = self._otherwise.encode(message)
            return framing.frame_header(len(data), attachment_bytes) + data
        cdef Py_ssize_t message_bytes = len(data) - WORD
        if message_bytes > _MAX_MESSAGE_BYTES or attachment_bytes > _MAX_ATTACHMENT_BYTES:
            framing.frame_header(message_bytes, attachment_bytes)  # raises
        lengths[0], lengths[1] = message_bytes, attachment_bytes
        memcpy(PyBytes_AS_STRING(data), lengths, WORD)  # nobody else has seen these bytes yet
        return data

    def decode(self, bytes data not None):
        """The message in these bytes. Raises ProtocolError for bytes that are none of this codec's messages."""
        try:
            return self._read(data)
        except (Unusual, UnicodeDecodeError):
            return self._otherwise.decode(data)


cdef class StructSegments(_SegmentCodec):
    """Messages that are one struct."""

    cdef StructPlan _plan

    def __init__(self, StructPlan plan not None, otherwise):
        self._plan = plan
        self._otherwise = otherwise

    cdef int _write(self, Writer writer, object message, Py_ssize_t root) except -1:
        return writer.struct(self._plan, message, root, True)

    cdef object _read(self, bytes data):
        cdef Segment segment
        cdef Place place
        _open(data, &segment, &place)
        return _read_struct(self._plan, &segment, &place)


cdef class UnionSegments(_SegmentCodec):
    """Messages of a struct that is nothing but a union.

    ``arms`` are the plans of the union's arms by their number, None for one that is no message; all arms are in the
    union's only pointer. ``discriminant`` is where the number stands in the union's only word of data, in units of 16 bits.
    """

    cdef list _arms
    cdef dict _number_of
    cdef int _discriminant

    def __init__(self, list arms not None, int discriminant, otherwise):
        self._arms = arms
        self._number_of = {(<StructPlan>plan).message: number for number, plan in enumerate(arms) if plan is not None}
        self._discriminant = 2 * discriminant
        self._otherwise = otherwise

    cdef int _write(self, Writer writer, object message, Py_ssize_t root) except -1:
        cdef uint16_t number = self._number_of[type(message)]
        cdef Py_ssize_t body = writer.zeroed(2)
        writer.point(root, body, STRUCT_POINTER, 1 << 16 | 1)
        memcpy(writer.start + body + self._discriminant, &number, 2)
        return writer.struct(<StructPlan>self._arms[number], message, body + WORD, True)

    cdef object _read(self, bytes data):
        cdef Segment segment
        cdef Place place
        cdef uint16_t number
        _open(data, &segment, &place)
        if place.data_bytes <= self._discriminant or place.pointer_count == 0:
            raise Unusual("no union")
        memcpy(&number, segment.start + WORD * place.data + self._discriminant, 2)
        if number >= len(self._arms) or self._arms[number] is None:
            raise Unusual("no arm")
        _follow_struct(&segment, place.pointers, &place)
        return _read_struct(<StructPlan>self._arms[number], &segment, &place)
