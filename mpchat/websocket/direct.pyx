"""Writes to a socket past its transport, while nothing waits in that: see direct.py."""

from cpython.bytes cimport PyBytes_AS_STRING

cdef extern from "<sys/socket.h>":
    int MSG_DONTWAIT, MSG_NOSIGNAL
    Py_ssize_t send(int descriptor, const void *data, size_t size, int flags)


cpdef Py_ssize_t write(int descriptor, bytes data) except -1:
    """Return how many bytes the system has taken."""
    cdef Py_ssize_t taken = send(
        descriptor, PyBytes_AS_STRING(data), len(data), MSG_DONTWAIT | MSG_NOSIGNAL
    )
    return taken if taken > 0 else 0
