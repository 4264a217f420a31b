"""Logging: the standard library's loggers, userver's formats, queues and a thread per worker."""
