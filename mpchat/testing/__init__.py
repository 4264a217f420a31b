"""Tests of handlers without a port: one worker in the test's own event loop, in milliseconds.

``connect`` opens one connection to one handler, ``request`` sends it one request, ``serve`` runs several
handlers and components for any number of both, ``serve_config`` those of a config file.
``mpchat.testsuite`` has the fixtures that start the real service.
"""

from __future__ import annotations

from mpchat.testing.clock import Clock
from mpchat.testing.serving import connect, request, serve, serve_config
from mpchat.testing.worker import Worker

__all__ = ["Clock", "Worker", "connect", "request", "serve", "serve_config"]
