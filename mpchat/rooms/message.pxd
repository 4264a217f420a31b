cdef class Message:
    cdef readonly bytes payload
    cdef readonly long long kind
    cdef readonly object at, epoch, offset, user
