cimport cython

from mpchat.tls.records cimport Records
from mpchat.websocket.turn cimport Turn

cdef Py_ssize_t PIECE, RECORD, _RECORDS, _SMALL

cdef class TlsWorker:
    cdef object _incoming, _outgoing
    cdef public Turn turn
    cdef public Py_ssize_t controls, end, max_handshake_bytes
    cdef public bint has_ended, is_plain
    cdef public object base, counters, failure, handshake_timeout, handshakes, scratch, shared

    cpdef take_answer(self)
    cpdef bint shake(self, tls, Records records, bytes data) except -1
    cpdef bint is_peer_valid(self, tls) except -1
    cpdef bytes decrypt_rest(self, tls)
    @cython.locals(size=Py_ssize_t, total=Py_ssize_t, end=Py_ssize_t, plain=bytes)
    cpdef bytes decrypt(self, tls, Records records, bytes data, Py_ssize_t start)
    cpdef Py_ssize_t decrypt_into(
        self, buffer, tls, Records records, bytes data, Py_ssize_t start
    ) except -1
    cdef Py_ssize_t _begin(self, Records records, bytes data, Py_ssize_t start) except -1
    @cython.locals(size=Py_ssize_t, total=Py_ssize_t, room=Py_ssize_t)
    cdef Py_ssize_t _feed(
        self, tls, buffer, Records records, bytes data, Py_ssize_t start, Py_ssize_t end
    ) except -1
    @cython.locals(with_data=Py_ssize_t, got=Py_ssize_t)
    cdef Py_ssize_t _read(self, tls, buffer, Py_ssize_t total) except -1
    cdef _end(self)
    cdef _fail(self, error)
    cpdef bytes encrypt(self, tls, data)
    @cython.locals(room=Py_ssize_t)
    cpdef list encrypt_parts(self, tls, parts)
    cpdef notify(self, tls)
