"""The messages of one connection as its handler awaits them: see messages.py, which is the same in Python.

Theory of operation. A coroutine for each call, one within the other, is a third of an echo. ``recv`` and
``send`` return an object that is awaited like one: where nothing has to be waited for, it is done in its
first step.
"""

import inspect
from asyncio import coroutines

cimport cython
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_XDECREF

from websockets.exceptions import ConnectionClosedOK

from mpchat.websocket.awaitables cimport (
    PYGEN_ERROR, PYGEN_NEXT, PYGEN_RETURN, PyErr_WarnFormat, PyIter_Send, PySendResult,
    gives, next_of, sent, set_slots, thrown,
)

cdef enum State:
    NEW
    WAITING
    OVER


@cython.final
@cython.freelist(64)
cdef class Receiving:
    """One ``recv``, or one step of an iteration."""

    cdef Messages chat
    cdef State state
    cdef bint iterates

    @property
    def __name__(self):
        return "__anext__" if self.iterates else "recv"

    @property
    def __qualname__(self):
        return f"WebSocketConnection.{self.__name__}"

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        cdef PyObject *result = NULL
        cdef PySendResult kind = receive(<PyObject *> self, <PyObject *> value, &result)
        return sent(kind, result)

    def throw(self, kind, value=None, traceback=None):
        self.state = OVER
        error = thrown(kind, value)
        if self.iterates and isinstance(error, ConnectionClosedOK):
            raise StopAsyncIteration from None
        raise error

    def close(self):
        self.state = OVER

    def __dealloc__(self):
        if self.state == NEW:
            warn_never_awaited(b"__anext__" if self.iterates else b"recv")


@cython.final
@cython.freelist(64)
cdef class Sending:
    """One ``send``."""

    cdef Messages chat
    cdef object message
    cdef State state
    # What is awaited before the next attempt, a coroutine.
    cdef object wait

    __name__ = "send"
    __qualname__ = "WebSocketConnection.send"

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        cdef PyObject *result = NULL
        cdef PySendResult kind = send(<PyObject *> self, <PyObject *> value, &result)
        return sent(kind, result)

    def throw(self, kind, value=None, traceback=None):
        self.state = OVER
        error = thrown(kind, value)
        if self.wait is not None:
            self.wait.throw(error)
        raise error

    def close(self):
        self.state = OVER
        if self.wait is not None:
            self.wait.close()

    def __dealloc__(self):
        if self.state == NEW:
            warn_never_awaited(b"send")


cdef extern from *:
    """
    /* A list that gives its only item away, and keeps its room for the next: nothing is allocated. */
    static PyObject *mpchat_only(PyObject *list) {
        PyObject *item = PyList_GET_ITEM(list, 0);
        Py_SET_SIZE((PyVarObject *)list, 0);
        return item;
    }
    """
    # The reference is the caller's, as Cython has it of what returns an object.
    object only "mpchat_only"(list items)


cdef inline object first(list messages):
    """Take the first; most of the time it is the only one."""
    return only(messages) if len(messages) == 1 else messages.pop(0)


cdef warn_never_awaited(const char *name):
    PyErr_WarnFormat(
        RuntimeWarning, 1, b"coroutine 'WebSocketConnection.%s' was never awaited", name
    )


cdef PySendResult receive(PyObject *me, PyObject *value, PyObject **result) except PYGEN_ERROR:
    cdef Receiving self = <Receiving> me
    cdef Messages chat = self.chat
    cdef Incoming incoming = chat._incoming
    cdef State before = self.state
    if before == OVER:
        raise RuntimeError("cannot reuse already awaited coroutine")
    self.state = OVER
    if before == NEW:
        if incoming.ahead:
            incoming.ahead -= 1
            if not incoming.ahead:
                chat._protocol.turn.answered(incoming)
        if not chat._messages:
            chat._taken = 0
        else:
            chat._taken += 1
            if chat._taken >= chat._max_taken:
                chat._taken = 0
                self.state = WAITING
                return gives(PYGEN_NEXT, None, result)
    if not chat._messages and (incoming.attention or incoming.callback is not None):
        try:
            chat._protocol.look()
        except ConnectionClosedOK:
            if self.iterates:
                raise StopAsyncIteration from None
            raise
    if chat._messages:
        return gives(PYGEN_RETURN, first(chat._messages), result)
    self.state = WAITING
    incoming._asyncio_future_blocking = True
    return gives(PYGEN_NEXT, incoming, result)


cdef PySendResult send(PyObject *me, PyObject *value, PyObject **result) except PYGEN_ERROR:
    cdef Sending self = <Sending> me
    cdef PySendResult kind
    if self.state == OVER:
        raise RuntimeError("cannot reuse already awaited coroutine")
    sent_value = <object> value
    self.state = OVER
    while True:
        if self.wait is None:
            if self.chat._protocol.send_now(self.message):
                return gives(PYGEN_RETURN, None, result)
            self.wait = self.chat._protocol.wait_to_send()
            sent_value = None
        kind = PyIter_Send(self.wait, sent_value, result)
        if kind == PYGEN_NEXT:
            self.state = WAITING
            return kind
        Py_XDECREF(result[0])
        result[0] = NULL
        self.wait = None


cdef PyObject *receive_next(PyObject *me) except? NULL:
    cdef PyObject *result = NULL
    return next_of(receive(me, <PyObject *> None, &result), result)


cdef PyObject *send_next(PyObject *me) except? NULL:
    cdef PyObject *result = NULL
    return next_of(send(me, <PyObject *> None, &result), result)


set_slots(<PyTypeObject *> Receiving, receive, receive_next)
set_slots(<PyTypeObject *> Sending, send, send_next)


cdef class Messages:
    """The half of a ``WebSocketConnection`` that every message passes."""

    def __init__(self, WebSocketProtocol protocol):
        self._protocol = protocol
        self._incoming = protocol.incoming
        self._messages = protocol.incoming.messages
        self._taken = 0
        self._max_taken = protocol.shared.thresholds.max_taken

    def recv(self):
        """Return the next message, waiting for it if need be: str for text, bytes for binary."""
        return receiving(self, False)

    def send(self, message):
        """Send a text (str) or binary message."""
        cdef Sending made = Sending.__new__(Sending)
        made.chat = self
        made.message = message
        return made

    def __aiter__(self):
        """Iterate over messages; ends on a normal close (1000, 1001), raises on another."""
        return self

    def __anext__(self):
        return receiving(self, True)


cdef inline Receiving receiving(Messages chat, bint iterates):
    cdef Receiving made = Receiving.__new__(Receiving)
    made.chat = chat
    made.iterates = iterates
    return made


def _mark(method):
    """Have a method taken for what it is, a coroutine function, by mocks and frameworks."""
    if hasattr(inspect, "markcoroutinefunction"):
        inspect.markcoroutinefunction(method)
    else:
        method._is_coroutine = coroutines._is_coroutine


_mark(Messages.recv)
_mark(Messages.send)
