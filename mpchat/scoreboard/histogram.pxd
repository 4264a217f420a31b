cimport cython

cdef enum:
    MOST = 32

@cython.final
cdef class Histogram:
    cdef Py_buffer _view
    cdef long long _bounds[MOST]
    cdef unsigned long long _own[MOST + 2]
    cdef unsigned long long *_items
    cdef Py_ssize_t _last

    cpdef void observe(self, long long value) noexcept
