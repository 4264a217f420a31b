cimport cython

from mpchat.tls.shaking cimport TlsHandshake
from mpchat.tls.worker cimport TlsWorker

cdef Py_ssize_t MOST
cdef int ENDED, OPEN, OVER, REFUSED, SHUT
cdef long long READ, TLS_CONTROL, TLS_READ

cdef class TlsProtocol(TlsHandshake):
    cdef bint _in_line, _is_buffered, _is_paused, _is_reading

    cpdef data_received(self, bytes data)
    cdef _receive_safely(self, bytes data)
    @cython.locals(size=Py_ssize_t, plain=bytes, worker=TlsWorker)
    cdef _receive(self, bytes data, Py_ssize_t start)
    @cython.locals(count=Py_ssize_t, end=Py_ssize_t, is_large=bint, worker=TlsWorker)
    cdef Py_ssize_t _receive_buffered(self, bytes data, Py_ssize_t start) except -1
    @cython.locals(controls=Py_ssize_t, has_ended=bint, worker=TlsWorker)
    cdef _hand_on(self, plain, Py_ssize_t count, bint is_first)
    cdef _deliver(self, plain)
    cdef _keep(self, bytes data)
    cdef _drop(self, Py_ssize_t size)
    cdef _wait_in_line(self)
    cdef _client_ended(self)
    @cython.locals(want=bint)
    cdef _set_reading(self)
