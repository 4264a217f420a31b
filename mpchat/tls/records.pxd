cimport cython

cdef unsigned long long _MARK

cdef class Records:
    cdef unsigned long long _header
    cdef Py_ssize_t _left
    cdef public Py_ssize_t whole

    @cython.locals(at=Py_ssize_t, size=Py_ssize_t, left=Py_ssize_t, whole=Py_ssize_t)
    cpdef Py_ssize_t measure(
        self, bytes data, Py_ssize_t start, Py_ssize_t most, Py_ssize_t records
    ) except -1
