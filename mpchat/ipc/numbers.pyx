"""Numbers within bytes, little endian: see numbers.py, which has the same functions in Python.

Rules. Bytes are read through pointers here, and nowhere else, after a look at the bounds.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from "<endian.h>" nogil:
    uint32_t le32toh(uint32_t number)
    uint64_t le64toh(uint64_t number)


cpdef uint32_t u32_at(bytes data, Py_ssize_t at) except? 0xFFFFFFFF:
    """Return the number in the four bytes from ``at`` on."""
    cdef uint32_t number
    if data is None or at < 0 or at > PyBytes_GET_SIZE(data) - 4:
        raise IndexError("the number is not within the data")
    memcpy(&number, PyBytes_AS_STRING(data) + at, 4)
    return le32toh(number)


cpdef uint64_t u64_at(bytes data, Py_ssize_t at) except? 0xFFFFFFFFFFFFFFFF:
    """Return the number in the eight bytes from ``at`` on."""
    cdef uint64_t number
    if data is None or at < 0 or at > PyBytes_GET_SIZE(data) - 8:
        raise IndexError("the number is not within the data")
    memcpy(&number, PyBytes_AS_STRING(data) + at, 8)
    return le64toh(number)
