"""TLS: mpchat beside the servers that speak it themselves.

Rules. Those of the benchmark; its client has OpenSSL between its sockets and its frames. Each server gets
a certificate of its own, of a private authority. ``rows`` says what is measured, ``certificates`` makes
what servers identify themselves by, ``storm`` measures what ClientHellos do to those who are connected,
``report`` judges and prints.
"""
