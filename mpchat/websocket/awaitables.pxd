"""What the interpreter asks of a coroutine, for those that are written in C.

Rules. ``step`` goes on to the next wait or to the end, as a coroutine's ``send`` does, and returns which
of the two it was; no StopIteration is made for it. It is put into the two slots that ``await`` looks at.
Each class repeats a few short methods: objects of a derived class would not come from a free list.
"""

from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF

cdef extern from *:
    """
    typedef PySendResult (*mpchat_step)(PyObject *, PyObject *, PyObject **);

    static void mpchat_set_slots(PyTypeObject *type, mpchat_step step, iternextfunc next) {
        type->tp_as_async->am_send = step;
        type->tp_iternext = next;
        PyType_Modified(type);
    }
    """
    ctypedef enum PySendResult:
        PYGEN_RETURN
        PYGEN_ERROR
        PYGEN_NEXT

    ctypedef PySendResult (*Step "mpchat_step")(PyObject *, PyObject *, PyObject **) except PYGEN_ERROR
    ctypedef PyObject *(*Next "iternextfunc")(PyObject *) except? NULL
    void set_slots "mpchat_set_slots"(PyTypeObject *type, Step step, Next next)

    PySendResult PyIter_Send(object iterator, object value, PyObject **result) except PYGEN_ERROR
    void PyErr_SetObject(object kind, object value)
    int PyErr_WarnFormat(object category, Py_ssize_t level, const char *text, ...) except -1


cdef inline PySendResult gives(PySendResult kind, object value, PyObject **result) noexcept:
    """Hand over a value that is waited for, or the result."""
    Py_INCREF(value)
    result[0] = <PyObject *> value
    return kind


cdef inline PyObject *next_of(PySendResult kind, PyObject *result) except? NULL:
    """Return what the slot of an iterator does, which takes over the reference: 3.12 and later ask that."""
    if kind == PYGEN_NEXT:
        return result
    value = <object> result
    Py_DECREF(value)
    if value is not None:
        PyErr_SetObject(StopIteration, StopIteration(value))
    return NULL


cdef inline object sent(PySendResult kind, PyObject *result):
    """Return what the method ``send`` does."""
    value = <object> result
    Py_DECREF(value)
    if kind == PYGEN_NEXT:
        return value
    raise StopIteration(value)


cdef inline object thrown(object kind, object value):
    """Return the exception that ``throw`` was given, in whichever form."""
    if value is not None:
        return value
    return kind if isinstance(kind, BaseException) else kind()
