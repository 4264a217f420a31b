cimport cython

from mpchat.ipc.framing cimport Frames
from mpchat.websocket.broadcast cimport Hall
from mpchat.websocket.direct cimport read
from mpchat.websocket.turn cimport Turn

cdef long long READ

cdef class Link:
    cdef object _loop, _receiver, _rest, _socket
    cdef Hall _hall
    cdef Frames _frames
    cdef list _out
    cdef Py_ssize_t _most
    cdef int _descriptor
    cdef bint _is_in_line, _is_reading, _is_scheduled
    cdef object _pair
    cdef public bint is_up
    cdef public object on_broken

    cpdef send(self, bytes frame)
    cpdef _flush(self)
    cpdef _write(self, data)
    cpdef _read_on(self)
    @cython.locals(data=bytes, hall=Hall, turn=Turn)
    cpdef _read(self)
