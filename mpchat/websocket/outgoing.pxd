cimport cython

from mpchat.scoreboard.traffic cimport Traffic
from mpchat.websocket.batch cimport Batch
from mpchat.websocket.direct cimport write
from mpchat.websocket.payload cimport framed

cdef class Outgoing:
    cdef Traffic _counters
    cdef Py_ssize_t _fragment_size, _max_gathered, _max_joined, _payload_bytes, _uncounted
    cdef bint _is_behind
    cdef int _descriptor
    cdef list _gathered, _waiters
    cdef object _outlet, _thresholds
    cdef public bint paused
    cdef public long long sent, sent_bytes

    @cython.locals(length=Py_ssize_t, frame=bytes)
    cpdef bint send_message(self, int opcode, bytes payload, bint at_once) except -1
    cpdef bint send_batch(self, Batch batch, long long most) except -1
    @cython.locals(counters=Traffic, size=Py_ssize_t)
    cdef _send_made(self, Batch batch, bytes data)
    @cython.locals(counters=Traffic)
    cpdef _count(self, Py_ssize_t messages, Py_ssize_t payload_bytes)
    cpdef gather(self, data)
    @cython.locals(taken=Py_ssize_t)
    cdef _write(self, bytes data)
    @cython.locals(gathered=list)
    cpdef flush(self)

cdef class DeflatingOutgoing(Outgoing):
    cdef object _deflater

    cpdef bint send_message(self, int opcode, bytes payload, bint at_once) except -1
    cpdef bint send_batch(self, Batch batch, long long most) except -1
