cimport cython

from mpchat.tls.outlet cimport TlsOutlet
from mpchat.tls.records cimport Records
from mpchat.tls.worker cimport TlsWorker

cdef int NEW, OPEN, OVER, REFUSED, SHAKING
cdef long long READ

cdef class TlsHandshake(TlsOutlet):
    cdef Records _records
    cdef object _above, _fresh_seconds
    cdef bytes _kept
    cdef int _handshake_bytes
    cdef public bint is_queued
    cdef public long long wheel_tick

    cdef _hand_on(self, plain, Py_ssize_t count, bint is_first)
    cdef _receive(self, bytes data, Py_ssize_t start)
    cdef _begin(self, transport)
    cdef _await_step(self, bytes data)
    cdef bint _may_begin(self, bytes data) except -1
    cdef _refuse_hello(self, failure)
    cdef _refuse_plain(self, bytes data)
    @cython.locals(is_done=bint, is_valid=bint, end=Py_ssize_t, plain=bytes, worker=TlsWorker)
    cdef _shake(self, bytes data)
    cdef _open(self, bytes plain)
    cdef _refuse(self, failure)
    cdef _end_handshake(self, failure)
    cdef _enter_over(self)
    cpdef abort(self)
