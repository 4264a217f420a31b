from mpchat.websocket.incoming cimport Incoming
from mpchat.websocket.outgoing cimport Outgoing
from mpchat.websocket.parser cimport Parser

cdef object CLOSING, LINGERING, OPEN, OWED

cdef class Life:
    cdef object _close_to_send, _end, _pings, _task
    cdef bint _is_counted
    cdef long long _owed
    cdef public bint is_cancelled
    cdef public object close_rcvd, close_rcvd_then_sent, close_sent, context, follower, handler, phase, shared
    cdef public Incoming incoming
    cdef public Outgoing outgoing
    cdef public Parser parser

    cpdef pull(self)
    cpdef caught_up(self)
    cpdef bint may_send(self) except -1
    cpdef send_control(self, bytes frame)
