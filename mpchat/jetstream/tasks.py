"""Limits of time for nats-py, which swallows cancellations in places, and goes on.

Rules. What it does with a limit it does in a task of its own, which is cancelled until it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
_AGAIN = 0.1
"""Seconds until a task is cancelled once more."""


async def within(limit: float, work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns.

    Raises:
        TimeoutError: It has not ended after ``limit`` seconds; it has now.
    """
    task = asyncio.get_running_loop().create_task(work)
    try:
        await asyncio.wait({task}, timeout=limit)
        if not task.done():
            raise TimeoutError
        return task.result()
    finally:
        await stop(task)


async def stop(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended; how it ends does not matter any more."""
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task}, timeout=_AGAIN)
        except asyncio.CancelledError as error:
            # Whoever waits is to end as well, but not before: nobody else would end the task.
            cancelled = error
    if not task.cancelled():
        task.exception()
    if cancelled is not None:
        raise cancelled


def hand_over(task: asyncio.Task[Any]) -> None:
    """Leave what a task has raised to the loop's handler of exceptions, when it is done."""
    if not task.cancelled():
        task.result()
