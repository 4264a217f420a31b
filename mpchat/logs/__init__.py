"""Logging: the standard library's loggers, userver's formats, queues and one thread per worker."""
