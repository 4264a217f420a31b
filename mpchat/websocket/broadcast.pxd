cimport cython

from mpchat.websocket.batch cimport Batch
from mpchat.websocket.protocol cimport WebSocketProtocol
from mpchat.websocket.turn cimport Turn

cdef long long DELIVERY
cdef object OWED, TOO_SLOW

cdef class Parting:
    cdef public object reason

cdef class Recipient:
    cdef public Recipient following, preceding
    cdef public object form
    cdef public WebSocketProtocol protocol

cdef class Audience
cdef class Delivery

cdef class Hall:
    cdef list _touched
    cdef public long long held, most, share
    cdef public bint is_awaited
    cdef public object on_delivered, on_less
    cdef public Turn turn

    cpdef touch(self, Audience audience)
    @cython.locals(audience=Audience, touched=list)
    cpdef deliver(self)

cdef class Audience:
    cdef Delivery _delivery
    cdef public Recipient first, last
    cdef public Hall hall

    @cython.locals(delivery=Delivery)
    cpdef send(self, item)
    @cython.locals(delivery=Delivery)
    cpdef deliver(self)
    cpdef go_on(self, Delivery delivery)
    cdef _append(self, Recipient recipient)

cdef class Delivery:
    cdef Audience _audience
    cdef dict _batches
    cdef list _items
    cdef Parting _parting
    cdef long long _floor, _size, _stamp
    cdef public Recipient cursor
    cdef public bint is_touched, is_waiting
    cdef public list pending

    @cython.locals(hall=Hall)
    cpdef bint write(self) except -1
    cdef bint _next_batch(self) except -1
    @cython.locals(batch=Batch, member=Recipient, most=cython.longlong, protocol=WebSocketProtocol, turn=Turn, work=cython.longlong)
    cdef bint _write_batch(self) except -1
    cdef Batch _batch(self, form)
