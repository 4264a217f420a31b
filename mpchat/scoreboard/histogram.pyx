"""A distribution in shared memory: see histogram.py, which is the same in Python."""

from cpython.buffer cimport PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer


cdef class Histogram:
    """One of one worker."""

    def __cinit__(self, bounds, items):
        self._last = len(bounds)
        if self._last > MOST:
            raise ValueError(f"a histogram has at most {MOST} bounds")
        for index, bound in enumerate(bounds):
            self._bounds[index] = bound
        PyObject_GetBuffer(items, &self._view, PyBUF_WRITABLE)
        if self._view.len != 8 * (self._last + 2):
            raise ValueError(f"{self._last} bounds need {self._last + 2} items of 64 bits")
        self._items = <unsigned long long *> self._view.buf

    def __dealloc__(self):
        PyBuffer_Release(&self._view)

    cpdef void observe(self, long long value) noexcept:
        """Count a value, not below 0."""
        cdef Py_ssize_t index = 0
        while index < self._last and value > self._bounds[index]:
            index += 1
        self._items[index] += 1
        self._items[self._last + 1] += value

    def release(self):
        """Use the memory no longer."""
        self._items = self._own
        PyBuffer_Release(&self._view)
