from mpchat.websocket.incoming cimport Continuation, Incoming

cdef class Stepped(Continuation):
    cdef object _coroutine, _pending, _failure
    cdef Incoming _incoming
    cdef bint _is_pending

    cdef step(self)
