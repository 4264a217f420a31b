"""Writes to a socket past its transport, and reads from one without any: see direct.py."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno

cdef extern from "<sys/socket.h>":
    int MSG_DONTWAIT, MSG_NOSIGNAL
    Py_ssize_t send(int descriptor, const void *data, size_t size, int flags)
    Py_ssize_t recv(int descriptor, void *data, size_t size, int flags)

cdef char _read[256 * 1024]


cpdef Py_ssize_t write(int descriptor, bytes data) except -1:
    """Return how many bytes the system has taken."""
    cdef Py_ssize_t taken = send(
        descriptor, PyBytes_AS_STRING(data), len(data), MSG_DONTWAIT | MSG_NOSIGNAL
    )
    return taken if taken > 0 else 0


cpdef object read(int descriptor):
    """Return what has come, at most 256 KiB: b"" at the end or after an error, None if nothing has."""
    cdef Py_ssize_t size = recv(descriptor, _read, sizeof(_read), MSG_DONTWAIT)
    if size >= 0:
        return PyBytes_FromStringAndSize(_read, size)
    return None if errno == EAGAIN or errno == EINTR else b""
