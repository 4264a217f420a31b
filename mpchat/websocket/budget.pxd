cdef class Budget:
    cdef public long long left, mark
    cdef public object thresholds
    cdef readonly long long _look_at
    cdef long long _before, _look_every
    cdef object _clock, _since
    cpdef renew(self)
    cpdef charge(self, long long work)
    cpdef look(self)
