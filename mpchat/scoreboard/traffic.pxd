from mpchat.scoreboard.histogram cimport Histogram

cdef class Traffic:
    cdef public long long bytes_received, bytes_sent, messages_received, messages_sent
    cdef public Histogram sizes
