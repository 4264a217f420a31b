cimport cython

from mpchat.scoreboard.histogram cimport Histogram
from mpchat.websocket.budget cimport Budget
from mpchat.websocket.incoming cimport Incoming

cdef class Turn(Budget):
    cdef object _loop, _publish, _publish_traffic
    cdef bint _is_scheduled, _touched
    cdef int _line
    cdef list _members
    cdef public bint is_full, will_publish
    cdef long long _timed_every
    cdef public Histogram answers
    cdef public long long kept, max_frames, promised, untimed
    cdef public object new_line, now, on_full, open_line

    cpdef renew(self)
    cpdef look(self)
    cpdef join(self, member)
    cpdef publish_soon(self)
    cpdef time_one(self, Incoming incoming)
    @cython.locals(now=double)
    cpdef answered(self, Incoming incoming)
    cdef _schedule(self)
    cdef _flush(self)
