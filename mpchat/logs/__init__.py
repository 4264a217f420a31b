"""Logging: the standard library's loggers, formats of userver, a queue and a thread per process."""
