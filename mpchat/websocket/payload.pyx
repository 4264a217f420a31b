"""The loops over the bytes of a payload, in C: see payload.py, which has the same functions in Python.

Rules. Bytes are read and written through pointers here, and nowhere else. ``_payload`` checks that the
payload, and the mask before it, lie within the data.
"""

from cpython.buffer cimport PyBuffer_FillInfo
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, _PyBytes_Resize
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #pragma GCC optimize ("O3")
    """

cdef extern from "Python.h":
    str PyUnicode_New(Py_ssize_t size, Py_UCS4 largest)
    void *PyUnicode_DATA(object text)
    Py_buffer *PyMemoryView_GET_BUFFER(object view)

cdef enum:
    # Text is unmasked in parts, so that letters beyond ASCII are met early.
    PART = 4096

cdef uint64_t NOT_ASCII = 0x8080808080808080


cdef const unsigned char *_payload(object data, Py_ssize_t start, Py_ssize_t length) except NULL:
    """Return where the payload begins; its mask is before it."""
    cdef Py_ssize_t size
    cdef const unsigned char *memory
    cdef Py_buffer *buffer
    if type(data) is bytes:
        size = len(<bytes> data)
        memory = <const unsigned char *> PyBytes_AS_STRING(data)
    elif type(data) is memoryview:
        buffer = PyMemoryView_GET_BUFFER(data)
        if buffer.ndim != 1 or buffer.itemsize != 1 or buffer.strides[0] != 1:
            raise ValueError("a view of bytes that are not one behind the other")
        size = buffer.len
        memory = <const unsigned char *> buffer.buf
    else:
        raise TypeError(f"bytes or a view of them is needed, not {type(data).__name__}")
    if start < 4 or length < 0 or start > size or length > size - start:
        raise IndexError("the payload is not within the data")
    return memory + start


cdef uint64_t _xor(
    unsigned char *target, const unsigned char *source, Py_ssize_t length, uint32_t key
) noexcept nogil:
    """Write the unmasked bytes, and return the union of their bits; ``key`` begins with the first byte."""
    cdef uint64_t wide = <uint64_t> key << 32 | key
    cdef const unsigned char *mask = <const unsigned char *> &key
    cdef uint64_t word, seen = 0
    cdef Py_ssize_t at = 0
    while at + 8 <= length:
        memcpy(&word, source + at, 8)
        word ^= wide
        seen |= word
        memcpy(target + at, &word, 8)
        at += 8
    while at < length:
        target[at] = source[at] ^ mask[at & 3]
        seen |= target[at]
        at += 1
    return seen


cdef class _Frame:
    """The memory of a frame, which becomes that of its payload."""

    cdef bytes _memory

    def __getbuffer__(self, Py_buffer *view, int flags):
        PyBuffer_FillInfo(
            view, self, PyBytes_AS_STRING(self._memory), len(self._memory), 0, flags
        )

    cdef bytes take(self, Py_ssize_t start, Py_ssize_t length):
        """Return the payload, which ends the frame; no view of the frame is looked at afterwards."""
        cdef PyObject *memory = <PyObject *> self._memory
        cdef unsigned char *target = <unsigned char *> PyBytes_AS_STRING(self._memory)
        cdef uint32_t key
        memcpy(&key, target + start - 4, 4)
        # Each byte moves towards the beginning, so none is overwritten before it is read.
        _xor(target, target + start, length, key)
        # This reference becomes the caller's: bytes with another cannot be resized.
        Py_INCREF(self._memory)
        self._memory = b""
        _PyBytes_Resize(&memory, length)
        try:
            return <bytes> memory
        finally:
            Py_DECREF(<object> memory)


cpdef object frame_buffer(Py_ssize_t size):
    """Return writable memory for a whole frame, to be given to ``unmask`` as it is."""
    cdef _Frame frame = _Frame.__new__(_Frame)
    frame._memory = PyBytes_FromStringAndSize(NULL, size)
    return memoryview(frame)


cdef _Frame _frame_of(object data):
    """Return the frame that a view is of, if it is of one."""
    if type(data) is not memoryview:
        return None
    cdef PyObject *owner = <PyObject *> PyMemoryView_GET_BUFFER(data).obj
    if owner is NULL or type(<object> owner) is not _Frame:
        return None
    return <_Frame> owner


cpdef bytes unmask(object data, Py_ssize_t start, Py_ssize_t length):
    """Return the payload of a frame.

    If ``data`` is a ``frame_buffer`` that it ends, it is unmasked there, and ``data`` is of no more use.
    """
    cdef const unsigned char *source = _payload(data, start, length)
    cdef _Frame frame = _frame_of(data)
    if frame is not None and start + length == len(data) == len(frame._memory):
        return frame.take(start, length)
    cdef bytes payload = PyBytes_FromStringAndSize(NULL, length)
    cdef uint32_t key
    memcpy(&key, source - 4, 4)
    _xor(<unsigned char *> PyBytes_AS_STRING(payload), source, length, key)
    return payload


cpdef str unmask_text(object data, Py_ssize_t start, Py_ssize_t length):
    """Return it as text; ASCII, which most text is, without decoding."""
    cdef const unsigned char *source = _payload(data, start, length)
    cdef Py_ssize_t at = 0, part
    cdef uint32_t key
    memcpy(&key, source - 4, 4)
    if length == 0:
        return ""
    cdef str text = PyUnicode_New(length, 0x7F)
    cdef unsigned char *target = <unsigned char *> PyUnicode_DATA(text)
    while at < length:
        part = min(length - at, PART)
        if _xor(target + at, source + at, part, key) & NOT_ASCII:
            return unmask(data, start, length).decode()
        at += part
    return text


cpdef bytes framed(int first, bytes payload):
    """Return an unmasked frame."""
    cdef Py_ssize_t length = len(payload)
    cdef int extended = 0 if length < 126 else 2 if length <= 0xFFFF else 8
    cdef Py_ssize_t start = 2 + extended
    cdef bytes frame = PyBytes_FromStringAndSize(NULL, start + length)
    cdef unsigned char *target = <unsigned char *> PyBytes_AS_STRING(frame)
    cdef int at
    target[0] = <unsigned char> first
    target[1] = <unsigned char> (length if not extended else 126 if extended == 2 else 127)
    for at in range(extended):
        target[2 + at] = <unsigned char> (length >> 8 * (extended - 1 - at) & 0xFF)
    memcpy(target + start, PyBytes_AS_STRING(payload), length)
    return frame
