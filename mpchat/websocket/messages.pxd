from mpchat.websocket.incoming cimport Incoming
from mpchat.websocket.protocol cimport WebSocketProtocol

cdef class Messages:
    cdef readonly Incoming _incoming
    cdef readonly list _messages
    cdef Py_ssize_t _max_taken, _taken
    cdef readonly WebSocketProtocol _protocol
