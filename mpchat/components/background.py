"""The background tasks of one component: none of them ends unnoticed.

Rules. A failure is logged at once, with the task's name and traceback, and never ends the worker. Only
the author, or the end of the component, may cancel a task; any other cancellation is a failure.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

FIRST_PAUSE = 1.0
"""Seconds from a task's failure to its next run; doubles with each failure."""
MAX_PAUSE = 30.0
"""Longest such pause in seconds. After a run that lasted this long, the next pause is the first again."""

Run: TypeAlias = Callable[[], Coroutine[Any, Any, object]]


class Background:
    """The running tasks of one component."""

    def __init__(
        self,
        first_pause: float = FIRST_PAUSE,
        max_pause: float = MAX_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._first_pause = first_pause
        self._max_pause = max_pause
        self._clock = clock
        self._stopped = False

    def spawn(
        self, run: Run, name: str, logger: logging.Logger, restart: bool
    ) -> asyncio.Task[None]:
        """Start a task that calls ``run``.

        Raises:
            RuntimeError: The component has been stopped.
        """
        if self._stopped:
            raise RuntimeError(f"cannot start the background task {name}: its component is stopped")
        work = self._restarted if restart else self._once
        task = asyncio.get_running_loop().create_task(work(run, name, logger), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancel all tasks and wait for them; no task can be started afterwards."""
        self._stopped = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _once(self, run: Run, name: str, logger: logging.Logger) -> None:
        await _succeeds(run, name, logger)

    async def _restarted(self, run: Run, name: str, logger: logging.Logger) -> None:
        task = asyncio.current_task()
        assert task is not None
        pause = self._first_pause
        begun = self._clock()
        # A task that fails while it is being cancelled must not run again.
        while not (await _succeeds(run, name, logger) or task.cancelling()):
            if self._clock() - begun >= self._max_pause:
                pause = self._first_pause
            logger.warning("the background task %s runs again in %g s", name, pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, self._max_pause)
            begun = self._clock()


async def _succeeds(run: Run, name: str, logger: logging.Logger) -> bool:
    """Run once; log a failure and return False, else return True.

    Raises:
        CancelledError: The task was cancelled.
    """
    try:
        await run()
    except (Exception, asyncio.CancelledError, SystemExit, KeyboardInterrupt) as error:
        task = asyncio.current_task()
        assert task is not None
        if task.cancelling() and isinstance(error, asyncio.CancelledError):
            raise
        # SystemExit and KeyboardInterrupt are caught because they would end the worker with all its
        # connections.
        logger.exception("the background task %s failed", name)
        return False
    return True
