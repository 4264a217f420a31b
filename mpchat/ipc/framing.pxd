cimport cython

from mpchat.ipc.numbers cimport u32_at

cdef class Frames:
    cdef Py_ssize_t _limit, _wanted
    cdef list _parts
    cdef readonly Py_ssize_t held

    @cython.locals(at=Py_ssize_t, end=Py_ssize_t, following=Py_ssize_t, limit=Py_ssize_t, size=Py_ssize_t, wanted=Py_ssize_t)
    cpdef list cut(self, bytes data)
