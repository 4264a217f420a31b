cimport cython

from mpchat.tls.worker cimport TlsWorker
from mpchat.websocket.direct cimport write
from mpchat.websocket.turn cimport Turn

cdef Py_ssize_t PIECE
cdef int ENDED, NEW, OPEN, SHUT
cdef long long TLS_WRITE

cdef class TlsOutlet:
    cdef TlsWorker _worker
    cdef Turn _turn
    cdef object _tls, _transport
    cdef int _descriptor, _stage
    cdef bint _is_behind, _is_full, _is_unanswered

    cpdef abort(self)
    cdef _set_reading(self)
    @cython.locals(answer=bytes)
    cdef _send_answer(self)
    @cython.locals(rest=bytes)
    cdef _send(self, bytes data)
    @cython.locals(taken=Py_ssize_t)
    cdef bytes _send_past(self, bytes data)
    cdef _give_up(self)
    cdef _notify(self)
    cpdef write(self, data)
    cdef _send_parts(self, list parts)
    cpdef bint _may_write(self) except -1
    cpdef get_write_buffer_size(self)
