cimport cython

from mpchat.scoreboard.traffic cimport Traffic
from mpchat.websocket.budget cimport Budget
from mpchat.websocket.payload cimport unmask, unmask_text

cdef int _FINAL_TEXT, _FINAL_BINARY, TEXT
cdef long long FRAME

cdef class Parser:
    cdef object _assembly, _inflater, _partial, _thresholds
    cdef bytes _backlog, _replies
    cdef Budget _budget
    cdef Traffic _counters
    cdef bint _is_dropping, _is_inflating
    cdef Py_ssize_t _bulk, _large, _max_size, _parsed
    cdef tuple _pongs
    cdef public object closed, failure
    cdef public bint has_buffers, has_control, is_bulk, is_over
    cdef public long long fragments, overhead, pongs_due, received, received_bytes

    @cython.locals(
        head=bytes, at=Py_ssize_t, position=Py_ssize_t, end=Py_ssize_t, start=Py_ssize_t, stop=Py_ssize_t,
        first=int, second=int, length=Py_ssize_t, max_size=Py_ssize_t, size=Py_ssize_t, plain=bint,
        least=cython.longlong, left=cython.longlong, most=cython.longlong, received=Py_ssize_t, received_bytes=Py_ssize_t,
    )
    cpdef bint feed(self, object data, list messages, long long most) except -1

    @cython.locals(
        size=Py_ssize_t, first=int, second=int, start=Py_ssize_t, length=Py_ssize_t, is_plain=bint,
    )
    cdef bint _take_whole(self, bytes data, list messages) except -1
    cdef _keep(self, object data, Py_ssize_t position)
    cdef bint _add(
        self, int first, object data, Py_ssize_t start, Py_ssize_t length, list messages
    ) except -1
    @cython.locals(counters=Traffic)
    cdef _count(self, Py_ssize_t messages, Py_ssize_t size)
