cimport cython

from mpchat.websocket.budget cimport Budget

cdef class Turn(Budget):
    cdef object _loop, _publish, _publish_traffic
    cdef bint _is_scheduled, _touched
    cdef int _line
    cdef list _members
    cdef public bint is_full, will_publish
    cdef public long long kept, max_frames, promised
    cdef public object new_line, on_full, open_line

    cpdef renew(self)
    cpdef look(self)
    cpdef join(self, member)
    cpdef publish_soon(self)
    cdef _schedule(self)
    cdef _flush(self)
