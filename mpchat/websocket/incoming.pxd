cimport cython

cdef class Continuation:
    cdef step(self)

cdef class Incoming:
    cdef public object _asyncio_future_blocking, _loop
    cdef object _thresholds
    cdef public list messages
    cdef public object callback, context, kept
    cdef public Continuation stepped
    cdef public bint attention, is_paused, more, was_cancelled
    cdef public Py_ssize_t ahead, in_hand
    cdef public double arrived, lined_up
    cdef long long _behind, _polled

    cpdef resume(self, callback)
    @cython.locals(waiting=Py_ssize_t)
    cpdef bint is_full(self, long long size) except -1
    cpdef time_last(self, double now)
    cpdef pause(self)
    cpdef unpause(self)
    cpdef answered(self, long long received)
