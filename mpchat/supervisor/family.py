"""All children of the supervisor: read, reaped, watched over by the monitor, ended.

Rules. A child's messages are read before its exit status is taken, so its last words come before its end.
A child is gone when its channel is closed and its status is known. The monitor holds a pidfd of every
other process. A message whose handling fails is handled again in the next turn. A child is killed when
three of its messages fail within ten seconds, or when it sends one that it may not send.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from mpchat.ipc import messages
from mpchat.ipc.channel import ChannelClosed, MalformedMessage
from mpchat.linux import system
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.faults import Faults
from mpchat.supervisor.log import Log

OnMessage: TypeAlias = Callable[[Child, messages.Message, list[int], float], None]

_MESSAGES_PER_TURN = 64
"""Messages of one child: a flood from it must not keep the others waiting."""
_LAST_MESSAGES = 1024
"""Messages of a child that has ended: it cannot send any more, so all of them are read at once."""
_RETRY_SECONDS = 0.1
"""Seconds until a channel tries again what the system has refused."""
_END_LOOK_MS = 20
"""Milliseconds between two checks of children without a pidfd while all are ended."""


class Family:
    """The workers by number, and all others by role."""

    def __init__(self, log: Log, faults: Faults, on_message: OnMessage) -> None:
        self.workers: dict[int, Child] = {}
        self._others: list[Child] = []
        self._log = log
        self._faults = faults
        self._on_message = on_message

    def __iter__(self) -> Iterator[Child]:
        return iter([*self._others, *self.workers.values()])

    def of(self, role: Role) -> Child | None:
        """Return the child of this role, if there is one; a worker has none of its own."""
        return next((child for child in self._others if child.role is role), None)

    def add(self, child: Child) -> None:
        """Note a child that is no worker."""
        self._others.append(child)
        self.watch()

    def dismiss(self, child: Child) -> None:
        """End a template or a monitor that is not needed any more."""
        child.role = Role.LEAVING
        child.end("it is not needed any more")

    def forget(self, child: Child) -> None:
        """A child that is no worker has ended."""
        self._others.remove(child)

    def reopen_logs(self, descriptors: tuple[int, ...] = ()) -> tuple[str, dict[str, Any]]:
        """Tell every process to open its log files again, with these descriptors.

        Returns:
            Why we could not open our own, or nothing; and the names of the told processes by pid.

        Raises:
            OSError: The system refuses a message; all may be told again.
        """
        trouble = self._log.reopen()
        # Also those that are still starting: they may have opened the old files already.
        for child in self:
            child.send(messages.ReopenLogs(), descriptors)
        self._log.info("every process opens its log files again")
        return trouble, {str(child.pid): child.name for child in self if child.open and child.pid}

    def register(self, poller: select.poll) -> None:
        """Register every channel: for reading, and for writing while something waits to be sent."""
        for child in self:
            if child.open:
                channel = child.channel
                writes = channel.has_waiting and not channel.refused
                wanted = select.POLLIN | (select.POLLOUT if writes else 0)
                poller.register(channel.fileno(), wanted)

    def retry_due(self, now: float) -> float | None:
        """Return when to try again what the system refused to a channel, None if it refused nothing."""
        refused = any(child.open and child.channel.refused for child in self)
        return now + _RETRY_SECONDS if refused else None

    def read(self, child: Child, now: float, most: int = _MESSAGES_PER_TURN) -> None:
        """Handle the messages of a child."""
        try:
            if child.open:
                with contextlib.suppress(ChannelClosed):
                    # A closed channel may still hold messages.
                    child.channel.flush()
            for _ in range(most):
                if not child.open:
                    return
                received = child.next_message()
                if received is None:
                    return
                self._on_message(child, *received, now)
                child.settle()
        except ChannelClosed:
            child.open = False
            child.closed_at = now
        except MalformedMessage as error:
            self._give_up(child, f"it sent what it may not send: {error}")
        except Exception as error:  # noqa: BLE001 - what one child says must not end the service
            self._faults.note(f"deal with a message of {child.name} pid {child.pid}", error)
            if child.fails_often(now):
                self._give_up(child, "too many of its messages could not be dealt with")

    def reap(self, now: float) -> None:
        """Take the exit status of every child that has ended, adopted orphans included.

        Raises:
            OSError: The system does not tell.
        """
        while True:
            try:
                ended = system.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            # Its messages are complete; one of them may tell its pid only now.
            for child in self:
                if child.pid in {0, ended.si_pid}:
                    self.read(child, now, _LAST_MESSAGES)
            _pid, status = system.waitpid(ended.si_pid, 0)
            for child in self:
                if child.pid == ended.si_pid:
                    child.status = status
                    # A process that it forked may hold the channel; it is not our child.
                    child.open = False

    def gone(self) -> list[Child]:
        """Return the children that have ended and are still listed."""
        return [
            child
            for child in self
            if not child.open and (child.status is not None or not child.pid)
        ]

    def kill_unreachable(self, before: float) -> None:
        """Kill children that closed their channel before that time and live: nothing else reaches them.

        Raises:
            OSError: The system refuses a signal.
        """
        for child in self:
            if not child.open and child.lives and child.closed_at <= before:
                child.kill()

    def watch(self) -> None:
        """Give the monitor a pidfd of every other process, as far as the system allows now."""
        monitor = self.of(Role.MONITOR)
        if monitor is None or not monitor.pid:
            return
        for child in self:
            if child is monitor or child.watched or not child.open_pidfd():
                continue
            try:
                monitor.send(messages.Watch(child.pid), (child.pidfd,))
            except OSError:
                # The next look tries again.
                return
            child.watched = True

    def watch_anew(self) -> None:
        """A new monitor holds no pidfd yet."""
        for child in self:
            child.watched = False
        self.watch()

    def unwatch(self, child: Child) -> None:
        """Let the monitor forget a child that has ended."""
        monitor = self.of(Role.MONITOR)
        if monitor is not None and monitor is not child and child.watched:
            monitor.send(messages.Unwatch(child.pid))

    def end(self, limit: float) -> None:
        """Kill all but those who have something left to do, and reap everyone.

        The monitor takes away its socket, and the broker hears the last of what workers have told it:
        they get ``limit`` seconds to leave by themselves.
        """
        leaving = [child for child in self if child.role in {Role.MONITOR, Role.BROKER}]
        for child in self:
            if child in leaving:
                stop = partial(child.send, messages.Stop())
                self._faults.attempt(f"stop {child.name}", stop)
            else:
                self._kill(child)
        deadline = time.monotonic() + limit
        while any(child.lives for child in self):
            now = time.monotonic()
            if now >= deadline + limit:
                return
            if now >= deadline:
                for child in leaving:
                    self._kill(child)
            self._faults.attempt("wait for children to end", self._wait_for_ends)
            self._faults.attempt("take exit statuses", lambda: self.reap(time.monotonic()))
        self._faults.attempt("take exit statuses", lambda: self.reap(time.monotonic()))

    def say_goodbye(self, limit: float) -> None:
        """Tell the workers to end at once, and give them ``limit`` seconds for it."""
        for worker in self.workers.values():
            self._faults.attempt("stop a worker", partial(worker.send, messages.Stop(now=True)))
        deadline = time.monotonic() + limit
        while any(w.lives for w in self.workers.values()) and time.monotonic() < deadline:
            self._faults.attempt("wait for workers to end", self._wait_for_ends)
            self._faults.attempt("take exit statuses", lambda: self.reap(time.monotonic()))

    def _wait_for_ends(self) -> None:
        poller = select.poll()
        for child in self:
            if child.lives and child.open_pidfd():
                poller.register(child.pidfd, select.POLLIN)
        system.poll(poller, _END_LOOK_MS)

    def _kill(self, child: Child) -> None:
        self._faults.attempt(f"kill {child.name} pid {child.pid}", child.kill)

    def _give_up(self, child: Child, reason: str) -> None:
        self._log.error(f"{child.name} pid {child.pid} is killed and replaced: {reason}")
        child.end(reason)
