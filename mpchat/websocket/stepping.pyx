"""A handler's coroutine, which goes on within the callback that has read a message.

Rules. To the task that awaits it, the coroutine is what ``Stepped`` passes on: each step that the task
asks for, each exception that it throws. While the coroutine waits for the next message of its own
connection, the task does not have to know that one has come: ``step`` goes on in its stead, in its name
and its context, and the task still waits. Anything else that comes of a step (another wait, the end, an
exception) is put aside, and the task is woken to get it.

Theory of operation. A task that wakes asks its future for a result, enters itself, steps its coroutine,
looks at what kind of future comes back, and adds its callback to that: a third of an echo, to arrive
where it was.
"""

from asyncio import CancelledError, Task, _enter_task, _leave_task
from types import CoroutineType

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF

from mpchat.websocket.awaitables cimport (
    PYGEN_ERROR, PYGEN_NEXT, PYGEN_RETURN, PyIter_Send, PySendResult,
    gives, next_of, sent, set_slots, thrown,
)

cdef extern from "Python.h":
    int PyContext_Enter(object context) except -1
    int PyContext_Exit(object context) except -1


cdef class Stepped(Continuation):
    """A handler's coroutine, for its task to await."""

    def __cinit__(self, coroutine, Incoming incoming):
        self._coroutine = coroutine
        self._incoming = incoming

    # For those who follow a task down to what it waits for

    @property
    def cr_frame(self):
        return self._coroutine.cr_frame

    @property
    def cr_await(self):
        return self._coroutine.cr_await

    # For its task

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        cdef PyObject *result = NULL
        cdef PySendResult kind = run(<PyObject *> self, <PyObject *> value, &result)
        return sent(kind, result)

    def throw(self, kind, value=None, traceback=None):
        error = thrown(kind, value)
        if self._failure is not None:
            # It has ended before this came.
            failure, self._failure = self._failure, None
            raise error if isinstance(failure, StopIteration) else failure
        if self._is_pending:
            self._is_pending = False
            pending, self._pending = self._pending, None
            # A task that is cancelled while it runs cancels what it waits for next.
            if isinstance(error, CancelledError) and pending is not None and pending.cancel():
                return pending
        self._incoming.stepped = None
        yielded = self._coroutine.throw(error)
        if yielded is self._incoming:
            self._incoming.stepped = self
        return yielded

    def close(self):
        self._incoming.stepped = None
        self._coroutine.close()

    # For Incoming

    cdef step(self):
        """Go on with a coroutine that waits for a message which has come."""
        cdef Incoming incoming = self._incoming
        cdef PyObject *result = NULL
        cdef PySendResult kind
        callback = incoming.callback
        context = incoming.context
        task = getattr(callback, "__self__", None)
        incoming.callback = incoming.stepped = None
        if not isinstance(task, Task):
            # A task of another make.
            context.run(callback, incoming)
            return
        incoming.was_cancelled = False
        _enter_task(incoming._loop, task)
        try:
            PyContext_Enter(context)
            try:
                kind = PyIter_Send(self._coroutine, None, &result)
            finally:
                PyContext_Exit(context)
        except BaseException as error:
            self._failure = error
        else:
            yielded = <object> result
            Py_DECREF(yielded)
            if kind == PYGEN_RETURN:
                self._failure = StopIteration(yielded)
            elif yielded is incoming and not incoming.was_cancelled:
                incoming._asyncio_future_blocking = False
                incoming.callback = callback
                incoming.stepped = self
                return
            else:
                self._pending = yielded
                self._is_pending = True
        finally:
            _leave_task(incoming._loop, task)
        context.run(callback, incoming)


cdef PySendResult run(PyObject *me, PyObject *value, PyObject **result) except PYGEN_ERROR:
    cdef Stepped self = <Stepped> me
    cdef PySendResult kind
    if self._failure is not None:
        failure, self._failure = self._failure, None
        if isinstance(failure, StopIteration):
            return gives(PYGEN_RETURN, failure.value, result)
        raise failure
    if self._is_pending:
        self._is_pending = False
        pending, self._pending = self._pending, None
        return gives(PYGEN_NEXT, pending, result)
    kind = PyIter_Send(self._coroutine, <object> value, result)
    if kind == PYGEN_NEXT and <object> result[0] is self._incoming:
        self._incoming.stepped = self
    return kind


cdef PyObject *run_next(PyObject *me) except? NULL:
    cdef PyObject *result = NULL
    return next_of(run(me, <PyObject *> None, &result), result)


set_slots(<PyTypeObject *> Stepped, run, run_next)


def stepped(running, Incoming incoming):
    """Return what a task awaits to run a handler, which waits for these messages most of the time."""
    if type(running) is not CoroutineType:
        # Whatever else may be awaited looks after itself.
        return running
    return Stepped(running, incoming)
