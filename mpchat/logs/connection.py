"""The connection that a line is about: set in its handler's task, inherited by that task's tasks."""

from __future__ import annotations

from contextvars import ContextVar

CONNECTION: ContextVar[str | None] = ContextVar("mpchat connection", default=None)
"""The id of the connection that the current task serves."""
