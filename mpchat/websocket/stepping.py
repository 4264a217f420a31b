"""The task of a handler. ``stepping.pyx`` goes on with it without waking it, see there."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from mpchat.websocket.incoming import Incoming


def create_task(running: Coroutine[Any, Any, None], incoming: Incoming) -> asyncio.Task[None]:
    """Run a handler's coroutine, which waits for these messages most of the time."""
    return asyncio.get_running_loop().create_task(running)
