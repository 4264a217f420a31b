cpdef Py_ssize_t write(int descriptor, bytes data) except -1
cpdef object read(int descriptor)
