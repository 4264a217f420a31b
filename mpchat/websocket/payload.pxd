cpdef object frame_buffer(Py_ssize_t size)
cpdef bytes unmask(object data, Py_ssize_t start, Py_ssize_t length)
cpdef str unmask_text(object data, Py_ssize_t start, Py_ssize_t length)
cpdef bytes framed(int first, bytes payload)
