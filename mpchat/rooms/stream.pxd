cimport cython

from mpchat.ipc.numbers cimport u64_at
from mpchat.rooms.publishing cimport Publishing
from mpchat.rooms.subscription cimport Sent, Subscription, message_of

cdef int _ACK, _FIRST_OTHER_KIND, _MESSAGE
cdef Py_ssize_t _ACK_BYTES, _ACK_COUNTER, _ACK_OFFSET, _ACK_TIME, _AT, _HEADER_BYTES, _OFFSET, _STAMP
cdef object _LIVE

cdef class Stream:
    cdef Publishing _publishing
    cdef object _act, _close, _find
    cdef public object epoch

    @cython.locals(
        counter=cython.ulonglong,
        frame=bytes,
        kind=int,
        offset=cython.ulonglong,
        room=Subscription,
    )
    cpdef receive(self, list frames)
    @cython.locals(offset=cython.ulonglong)
    cpdef take(self, Subscription room, bytes record)
