cimport cython

cdef class Publish:
    cdef bytes _key, _payload, _room, _user
    cdef int _flags

cdef class Close:
    cdef bytes _room

cdef class Open:
    cdef public object answer, what
    cdef public double since

cdef class Publishing:
    cdef object _count_limit, _link, _loop, _waiting
    cdef double _limit
    cdef unsigned long long _counter
    cdef readonly dict _open
    cdef bint _is_looking
    cdef public object epoch

    @cython.locals(one=Open)
    cpdef begin(self, what, answer)
    @cython.locals(one=Open)
    cpdef stored(self, unsigned long long counter, unsigned long long offset, unsigned long long at)
    @cython.locals(one=Open)
    cdef _go_on(self)
    cdef bint _is_full(self) except -1
    cdef _send(self, Open one)
