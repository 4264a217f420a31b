cdef class Batch:
    cdef dict _made
    cdef bytes _plain
    cdef Py_ssize_t _plain_size
    cdef public list frames
    cdef public Py_ssize_t count, size

    cdef bytes _made_plain(self, Py_ssize_t fragment_size, thresholds)
    cpdef bytes plain(self, Py_ssize_t fragment_size, thresholds)
    cpdef bytes deflated(self, fragment_size, deflater, thresholds)
