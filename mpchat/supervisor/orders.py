"""Orders that children pass on: from operators at the monitor, from tests-control in a worker.

Rules. A reload is answered when it is applied everywhere, scaling when the workers are ready, any other
order when every process was told. What other processes answer does not pass through here: they write it
into the socket that came with the order.
"""

from __future__ import annotations

from typing import Any

from mpchat.errors import describe_os_error
from mpchat.ipc import messages
from mpchat.ipc.channel import MalformedMessage
from mpchat.linux import descriptors as fds
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.log import Log
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reloading import Reloading
from mpchat.supervisor.restarting import Restarting
from mpchat.supervisor.sockets import Sockets

_SHORT = 2000
"""Characters of an error that always fit into the channel, even if each is escaped."""
MAX_LOGGERS = 1000
"""Loggers whose level may be ordered: a new process is given all of these levels."""
_DEFAULT_LOGGER = "default"
"""The logger whose level our own lines follow"""


class Orders:
    """Carries out orders, and answers those who gave them.

    ``levels`` are the levels of loggers for processes that are forked later; they are changed here.
    """

    def __init__(
        self,
        log: Log,
        family: Family,
        editions: Editions,
        levels: dict[str, str],
        pool: Pool,
        reloading: Reloading,
        restarting: Restarting,
        sockets: Sockets,
    ) -> None:
        self._log = log
        self._family = family
        self._editions = editions
        self._levels = levels
        self._pool = pool
        self._reloading = reloading
        self._restarting = restarting
        self._sockets = sockets

    def take(self, child: Child, order: messages.Order, descriptors: list[int], now: float) -> None:
        """Begin to carry out an order; the descriptors are ours to close."""

        def answer(error: str, found: dict[str, Any] | None = None) -> None:
            generation = self._editions.generation
            try:
                child.send(messages.OrderDone(order.number, generation, error, found or {}))
            except OSError as refusal:
                # A long answer needs a memfd, and the system refuses one: what fits has to do.
                short = f"{error[:_SHORT]} … (cut)" if error else f"no answer: {refusal.strerror}"
                child.send(messages.OrderDone(order.number, generation, short))

        match order.verb, order.arguments:
            case "reload", _:
                self._reloading.ask(now, answer)
            case "connections", selection if descriptors:
                answer(self._report(messages.parse("Report", selection), descriptors[0]))
            case "reopen", _ if descriptors:
                answer(*self._family.reopen_logs(tuple(descriptors)))
            case "rooms", selection if descriptors:
                answer(self._report_rooms(messages.parse("ReportRooms", selection), descriptors[0]))
            case "connections" | "reopen" | "rooms", _:
                answer("the supervisor has no descriptor left for that")
            case "log-level", {"logger": str(logger), "level": level, "number": number}:
                answer(self._set_level(logger, level, number))
            case "listeners", _:
                answer(*self._describe_listeners())
            case "restart", {"slot": int() | None as slot}:
                self._restarting.ask(slot, answer)
            case "scale", {"count": int(count)}:
                self._pool.scale(count, now, answer)
            case _:
                raise MalformedMessage(f"there is no order {order.verb} {order.arguments}")
        fds.close_all(descriptors)

    def _describe_listeners(self) -> tuple[str, dict[str, Any]]:
        try:
            return "", self._sockets.listeners.describe()
        except OSError as error:
            return f"the queues of the listening sockets: {describe_os_error(error)}", {}

    def _report(self, report: messages.Message, descriptor: int) -> str:
        """Ask the workers for their connections; return why some cannot be asked, or nothing."""
        assert isinstance(report, messages.Report)
        reasons = []
        for worker in self._family.workers.values():
            if worker.ready and report.pid in {None, worker.pid}:
                try:
                    worker.send(report, (descriptor,))
                except OSError as error:
                    text = f"{worker.name} pid {worker.pid} cannot be asked: {error.strerror}"
                    reasons.append(text)
        return "\n".join(reasons)

    def _report_rooms(self, report: messages.Message, descriptor: int) -> str:
        """Ask the broker for its rooms; return why it cannot be asked, or nothing."""
        if self._editions.current.plan.history is None:
            return "this service has no rooms"
        broker = self._family.of(Role.BROKER)
        if broker is None or not broker.ready:
            return "no broker: it is being replaced, ask again in a moment"
        try:
            broker.send(report, (descriptor,))
        except OSError as error:
            return f"the broker pid {broker.pid} cannot be asked: {error.strerror}"
        return ""

    def _set_level(self, logger: str, name: object, number: object) -> str:
        """Change a logger's level in every process; return why that is refused, or nothing."""
        if not isinstance(name, str | None) or not isinstance(number, int | None):
            raise MalformedMessage(f"the level of {logger} is {name!r}, {number!r}")
        if name is not None and logger not in self._levels and len(self._levels) >= MAX_LOGGERS:
            return (
                f"{MAX_LOGGERS} loggers have another level by order already: give one its own again"
            )
        level = messages.LogLevel(logger, name, number)
        self._levels.pop(level.logger, None)
        if level.level is not None:
            self._levels[level.logger] = level.level
        if level.logger == _DEFAULT_LOGGER:
            self._log.order(level.number)
        for child in self._family:
            # Workers would inherit a template's levels as their own.
            if child.role not in {Role.TEMPLATE, Role.NEXT_TEMPLATE}:
                child.send(level)
        self._log.info(f"the level of {level.logger} is {level.level or 'its own again'}, by order")
        return ""
