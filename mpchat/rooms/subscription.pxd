cimport cython

from mpchat.ipc.numbers cimport u64_at
from mpchat.rooms.message cimport Message
from mpchat.websocket.broadcast cimport Audience

cdef int _KEYED, _PAYLOAD_KINDS
cdef Py_ssize_t _AT, _CRC_BYTES, _HEADER_BYTES, _KEY_BYTES, _OFFSET

cdef class Subscription(Audience):
    cdef public bytes name
    cdef public object stage
    cdef public unsigned long long at, offset
    cdef public Py_ssize_t counted, members

cdef class Sent:
    cdef readonly Message message
    cdef readonly Py_ssize_t size
    cdef readonly long long stamp

    cpdef frame(self, form)

@cython.locals(
    by=Py_ssize_t, end=Py_ssize_t, flags=int, payload=bytes, start=Py_ssize_t
)
cpdef Message message_of(bytes record, epoch)
