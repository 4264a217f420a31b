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
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.child import Child, Role
from mpchat.supervisor.config_service import ConfigService
from mpchat.supervisor.editions import Editions
from mpchat.supervisor.family import Family
from mpchat.supervisor.log_orders import LogOrders
from mpchat.supervisor.pool import Pool
from mpchat.supervisor.reloading import Reloading
from mpchat.supervisor.restarting import Restarting
from mpchat.supervisor.sockets import Sockets

_SHORT = 2000
"""Characters of an error that always fit into the channel, even if each is escaped."""


class Orders:
    """Carries out orders, and answers those who gave them."""

    def __init__(
        self,
        log_orders: LogOrders,
        family: Family,
        editions: Editions,
        announcer: Announcer,
        pool: Pool,
        reloading: Reloading,
        restarting: Restarting,
        sockets: Sockets,
        config_service: ConfigService,
    ) -> None:
        self._log_orders = log_orders
        self._family = family
        self._editions = editions
        self._announcer = announcer
        self._pool = pool
        self._reloading = reloading
        self._restarting = restarting
        self._sockets = sockets
        self._config_service = config_service

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
            case "requests", selection if descriptors:
                answer(self._report(messages.parse("ReportRequests", selection), descriptors[0]))
            case "reopen", _ if descriptors:
                answer(*self._family.reopen_logs(tuple(descriptors)))
            case "rooms", selection if descriptors:
                answer(self._report_rooms(messages.parse("ReportRooms", selection), descriptors[0]))
            case "config-service", _ if child.role is Role.CONSOLE and descriptors:
                if refusal := self._config_service.offer(descriptors[0], answer):
                    answer(refusal)
            case "config-service-failed", {"text": str(text)} if child.role is Role.CONSOLE:
                self._config_service.failed(text)
                answer("")
            case "config-service-confirmed", _ if child.role is Role.CONSOLE:
                self._config_service.confirmed()
                answer("")
            case "connections" | "requests" | "reopen" | "rooms" | "config-service", _:
                answer("the supervisor has no descriptor left for that")
            case "log-level", selection:
                level = messages.parse("LogLevel", selection)
                assert isinstance(level, messages.LogLevel)
                answer(self._log_orders.set_level(level))
            case "debug-log", selection:
                state = messages.parse("DebugLog", selection)
                assert isinstance(state, messages.DebugLog)
                answer(self._log_orders.set_state(state))
            case "dynamic-config", _:
                answer(self._tell_config(child))
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
        """Ask the workers for a list; return why some cannot be asked, or nothing."""
        only = report.pid if isinstance(report, messages.Report) else None
        reasons = []
        for worker in self._family.workers.values():
            if worker.ready and only in {None, worker.pid}:
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

    def _tell_config(self, child: Child) -> str:
        """Send the dynamic config in force; return why that is not possible, or nothing."""
        generation = self._editions.current.generation
        # No monitor needs the keys of certificates.
        keys = (generation.certificates,) if child.role is Role.CONSOLE else ()
        try:
            child.send(self._announcer.in_force(), (generation.memfd, *keys))
        except OSError as error:
            return f"the dynamic config cannot be told: {error.strerror}"
        return ""
