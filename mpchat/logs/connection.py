"""Which connection a line is about: known in the task of its handler, and to all that it starts."""

from __future__ import annotations

from contextvars import ContextVar

CONNECTION: ContextVar[str | None] = ContextVar("mpchat connection", default=None)
"""The id of the connection that the current task serves."""
