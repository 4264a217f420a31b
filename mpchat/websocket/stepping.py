"""What a task awaits to run a handler: ``stepping.pyx`` goes on with it without waking the task."""

from __future__ import annotations

from collections.abc import Awaitable

from mpchat.websocket.incoming import Incoming


def stepped(running: Awaitable[None], incoming: Incoming) -> Awaitable[None]:
    """Return what a task awaits to run a handler, which waits for these messages most of the time."""
    return running
