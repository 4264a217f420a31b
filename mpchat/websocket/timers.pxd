from mpchat.websocket.life cimport Life

cdef object CLOSING, OWED

cdef class TimedLife(Life):
    cdef object _awaited_pong, _limits, _uptake
    cdef public object options, transport
    cdef public long long wheel_tick
    cdef public double since
    cdef public bint is_reading

    cpdef _begin_keepalive(self)
    cpdef _judge_messages(self, limits)
