"""The loops over the bytes of a payload, in C: see payload.py, which has the same functions in Python.

Rules. Bytes are read and written through pointers here, and nowhere else. ``_payload`` checks that the
payload, and the mask before it, lie within the data.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
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


cpdef bytes unmask(object data, Py_ssize_t start, Py_ssize_t length):
    """Return the payload of a frame."""
    cdef const unsigned char *source = _payload(data, start, length)
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
