"""Waiting for a condition in a test that is a coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from mpchat.testsuite.service import DEADLINE, wait_until

T = TypeVar("T")


async def eventually(condition: Callable[[], T], what: str, deadline: float = DEADLINE) -> T:
    """Return the first truthy result of ``condition``, while the event loop turns on.

    Raises:
        TimeoutError: No result was truthy within ``deadline`` seconds.
    """
    return await asyncio.to_thread(wait_until, condition, what, deadline)
