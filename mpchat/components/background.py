"""The background tasks of one component: none of them ends unnoticed.

Rules. A failure is logged at once, with the task's name and traceback, and never ends the worker. Only
the author, or the end of the component, may cancel a task; any other cancellation is a failure. A task
that runs once in the service begins when its worker holds its lock. The lock is released when all tasks
of the component have ended, so another worker begins the task only afterwards.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from mpchat.errors import describe_os_error
from mpchat.scoreboard.locks import Lock

FIRST_PAUSE = 1.0
"""Seconds from a task's failure to its next run; doubles with each failure."""
MAX_PAUSE = 30.0
"""Longest such pause in seconds. After a run that lasted this long, the next pause is the first again."""

LOCK_PAUSE = 0.4
"""Seconds between two attempts to take a lock that another worker holds."""

Run: TypeAlias = Callable[[], Coroutine[Any, Any, object]]
Work: TypeAlias = Callable[[Run, str, logging.Logger], Coroutine[Any, Any, None]]


class Background:
    """The running tasks of one component."""

    def __init__(
        self,
        first_pause: float = FIRST_PAUSE,
        max_pause: float = MAX_PAUSE,
        clock: Callable[[], float] = time.monotonic,
        lock_pause: float = LOCK_PAUSE,
    ) -> None:
        self._locks: list[Lock] = []
        self._lock_pause = lock_pause
        self._tasks: set[asyncio.Task[None]] = set()
        self._first_pause = first_pause
        self._max_pause = max_pause
        self._clock = clock
        self._stopped = False

    def spawn(
        self, run: Run, name: str, logger: logging.Logger, restart: bool, lock: Lock | None = None
    ) -> asyncio.Task[None]:
        """Start a task that calls ``run``, once this worker holds the lock if there is one.

        Raises:
            RuntimeError: The component has been stopped.
        """
        if self._stopped:
            raise RuntimeError(f"cannot start the background task {name}: its component is stopped")
        work = self._restarted if restart else self._once
        if lock is None:
            running = work(run, name, logger)
        else:
            self._locks.append(lock)
            running = self._locked(work, lock, run, name, logger)
        task = asyncio.get_running_loop().create_task(running, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancel all tasks, wait for them, and release their locks; no task can be started afterwards."""
        self._stopped = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for lock in self._locks:
            lock.release()

    async def _locked(
        self, work: Work, lock: Lock, run: Run, name: str, logger: logging.Logger
    ) -> None:
        has_failed = False
        while True:
            try:
                if lock.take():
                    break
            except OSError as error:
                if not has_failed:
                    text = "the background task %s waits: its lock cannot be taken: %s"
                    logger.warning(text, name, describe_os_error(error))
                has_failed = True
            await asyncio.sleep(self._lock_pause)
        logger.info("the background task %s runs in this worker", name)
        await work(run, name, logger)

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
