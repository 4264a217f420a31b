"""All children of the supervisor: read, reaped, watched over by the monitor, ended.

Rules. What a child said is read before its exit status is taken, so its last words come before its end.
A child is gone when its channel is closed and its status is known. The monitor holds a pidfd of all
others.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Callable, Iterator
from typing import TypeAlias

from mpchat.ipc import messages
from mpchat.ipc.channel import ChannelClosed
from mpchat.supervisor.children import Child
from mpchat.supervisor.numbers import Numbers
from mpchat.supervisor.single import Single

OnMessage: TypeAlias = Callable[[Child, messages.Message, list[int], float], None]


class Family:
    """The template, the monitor, and the workers by number."""

    def __init__(self, numbers: Numbers, on_message: OnMessage) -> None:
        self.template = Single(numbers)
        self.monitor = Single(numbers)
        self.next_template: Child | None = None
        """With new code, while a restart is under way"""
        self.forks_from_next = False
        self.next_monitor: Child | None = None
        self.leaving: list[Child] = []
        """Templates and monitors that were replaced and have not ended yet"""
        self.workers: dict[int, Child] = {}
        self._on_message = on_message

    def __iter__(self) -> Iterator[Child]:
        singles = (
            self.template.child,
            self.monitor.child,
            self.next_template,
            self.next_monitor,
        )
        found = [child for child in singles if child is not None]
        return iter([*found, *self.leaving, *self.workers.values()])

    def forker(self) -> Child | None:
        """Return the template that new processes come from, if it is ready."""
        template = self.next_template if self.forks_from_next else self.template.child
        return template if template is not None and template.ready else None

    def register(self, poller: select.poll) -> None:
        """Have the poller wait for what children say, and for room for what waits to be said."""
        for child in self:
            if child.open:
                wanted = select.POLLIN | (select.POLLOUT if child.channel.has_waiting else 0)
                poller.register(child.channel.fileno(), wanted)

    def read(self, child: Child, now: float) -> None:
        """Pass on what a child has said."""
        if not child.open:
            return
        with contextlib.suppress(ChannelClosed):
            # An end that is closed may have said something before.
            child.channel.flush()
        try:
            while (received := messages.receive(child.channel)) is not None:
                self._on_message(child, *received, now)
        except ChannelClosed:
            child.open = False
            child.closed_at = now

    def reap(self, now: float) -> None:
        """Take the exit status of whoever has ended, strangers' orphans included."""
        while True:
            try:
                ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if ended is None:
                return
            # It has said all it will ever say, perhaps only now its pid.
            for child in self:
                if child.pid in {0, ended.si_pid}:
                    self.read(child, now)
            _pid, status = os.waitpid(ended.si_pid, 0)
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
        """End whoever closed its channel before that time and lives: nothing can reach it any more."""
        for child in self:
            lives = child.pid and child.status is None
            if not child.open and lives and child.closed_at <= before:
                child.kill()

    def watch(self, child: Child) -> None:
        """Let the monitor hold a pidfd of the child; a new monitor, of all."""
        monitor = self.monitor.child
        if monitor is None:
            return
        for target in self if child is monitor else [child]:
            if target.pid and target is not monitor:
                monitor.send(messages.Watch(target.pid), (target.pidfd,))

    def unwatch(self, child: Child) -> None:
        """Let the monitor forget a child that has ended."""
        monitor = self.monitor.child
        if monitor is not None and monitor is not child and child.pid:
            monitor.send(messages.Unwatch(child.pid))

    def end(self, limit: float) -> None:
        """Kill all but the monitor, which gets ``limit`` seconds to leave by itself; reap everyone."""
        monitor = self.monitor.child
        for child in self:
            if child is monitor:
                monitor.send(messages.Stop())
            else:
                child.kill()
        deadline = time.monotonic() + limit
        for child in self:
            if child.pidfd >= 0:
                poller = select.poll()
                poller.register(child.pidfd, select.POLLIN)
                if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                    child.kill()
                    poller.poll(limit * 1000)
        self.reap(time.monotonic())
