cdef class Budget:
    cdef public object thresholds
    cdef object _clock, _since
    cdef long long _before, _look_at, _look_every
    cdef public long long left, mark

    cpdef renew(self)
    cpdef charge(self, long long work)
    cpdef look(self)
