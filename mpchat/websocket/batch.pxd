cdef class Batch:
    cdef dict _made
    cdef public list frames
    cdef public Py_ssize_t count, size

    cpdef bytes plain(self, fragment_size, thresholds)
    cpdef bytes deflated(self, fragment_size, deflater, thresholds)
