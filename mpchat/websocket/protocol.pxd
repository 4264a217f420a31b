cimport cython

from mpchat.websocket.incoming cimport Incoming
from mpchat.websocket.outgoing cimport Outgoing
from mpchat.websocket.parser cimport Parser
from mpchat.websocket.timers cimport TimedLife
from mpchat.websocket.turn cimport Turn

cdef object CLOSING, DRAINING, LINGERING, LOST, OPEN, OWED
cdef int BINARY, TEXT
cdef long long CLOSE, READ

cdef class WebSocketProtocol(TimedLife):
    cdef bint _has_eof, _in_line, _in_turn
    cdef Py_ssize_t _large_read
    cdef object _on_end
    cdef public object client, head, subprotocol
    cdef public Turn turn

    @cython.locals(
        before=cython.longlong, incoming=Incoming, messages=list, parser=Parser, size=Py_ssize_t, turn=Turn
    )
    cpdef data_received(self, data)
    @cython.locals(incoming=Incoming, is_full=bint, is_large=bint)
    cpdef _limit_reading(self, Py_ssize_t size)
    cpdef wait_for_turn(self)
    cpdef _wait_in_line(self)
    @cython.locals(incoming=Incoming)
    cpdef pull(self)
    @cython.locals(before=cython.longlong, incoming=Incoming, parser=Parser, turn=Turn)
    cpdef _parse_more(self)
    cpdef _set_reading(self)
    @cython.locals(incoming=Incoming)
    cpdef look(self)
    @cython.locals(incoming=Incoming, opcode=int, outgoing=Outgoing, payload=bytes)
    cpdef bint send_now(self, message) except -1
    cpdef join_turn(self)
    cpdef end_turn(self)
