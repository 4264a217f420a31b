from mpchat.websocket.incoming cimport Incoming

cdef class Stepped:
    cdef object _coroutine, _pending, _failure
    cdef Incoming _incoming
    cdef bint _is_pending

    cpdef step(self)
