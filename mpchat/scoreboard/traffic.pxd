cdef class Traffic:
    cdef public long long bytes_received, bytes_sent, messages_received, messages_sent
