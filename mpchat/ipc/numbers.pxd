from libc.stdint cimport uint32_t, uint64_t

cpdef uint32_t u32_at(bytes data, Py_ssize_t at) except? 0xFFFFFFFF
cpdef uint64_t u64_at(bytes data, Py_ssize_t at) except? 0xFFFFFFFFFFFFFFFF
