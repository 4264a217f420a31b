cimport cython

from mpchat.tls.records cimport Records
from mpchat.tls.worker cimport TlsWorker
from mpchat.websocket.direct cimport write
from mpchat.websocket.turn cimport Turn

cdef Py_ssize_t MOST, PIECE
cdef int ENDED, NEW, OPEN, OVER, REFUSED, SHAKING, SHUT
cdef long long READ, TLS_CONTROL, TLS_READ, TLS_WRITE

cdef class TlsProtocol:
    cdef TlsWorker _worker
    cdef Turn _turn
    cdef Records _records
    cdef object _above, _fresh_seconds, _tls, _transport
    cdef bytes _kept
    cdef int _descriptor, _handshake_bytes, _stage
    cdef bint _in_line, _is_behind, _is_buffered, _is_full, _is_paused, _is_reading, _is_unanswered
    cdef public bint is_queued
    cdef public long long wheel_tick

    cpdef data_received(self, bytes data)
    cdef _await_step(self, bytes data)
    cdef bint _may_begin(self, bytes data) except -1
    cdef _refuse_hello(self, failure)
    cdef _refuse_plain(self, bytes data)
    @cython.locals(is_done=bint, is_valid=bint, end=Py_ssize_t, plain=bytes)
    cdef _shake(self, bytes data)
    cdef _open(self, bytes plain)
    cdef _refuse(self, failure)
    cdef _end_handshake(self, failure)
    cdef _receive_safely(self, bytes data)
    @cython.locals(size=Py_ssize_t, plain=bytes, worker=TlsWorker)
    cdef _receive(self, bytes data, Py_ssize_t start)
    @cython.locals(controls=Py_ssize_t, has_ended=bint, worker=TlsWorker)
    cdef _hand_on(self, plain, Py_ssize_t count, bint is_first)
    @cython.locals(count=Py_ssize_t, end=Py_ssize_t, is_large=bint, worker=TlsWorker)
    cdef Py_ssize_t _receive_buffered(self, bytes data, Py_ssize_t start) except -1
    cdef _deliver(self, plain)
    cdef _keep(self, bytes data)
    cdef _drop(self, Py_ssize_t size)
    cdef _wait_in_line(self)
    cdef _client_ended(self)
    @cython.locals(want=bint)
    cdef _set_reading(self)
    @cython.locals(answer=bytes)
    cdef _send_answer(self)
    @cython.locals(rest=bytes)
    cdef _send(self, bytes data)
    @cython.locals(taken=Py_ssize_t)
    cdef bytes _send_past(self, bytes data)
    cdef _give_up(self)
    cdef _enter_over(self)
    cpdef write(self, data)
    cdef _send_parts(self, list parts)
    cpdef bint _may_write(self) except -1
    cdef _notify(self)
    cpdef abort(self)
