"""The template's life: load, answer with a plan, then fork and reload on request until asked to end.

Rules. One thread, which blocks: the template has nothing to do between requests. All workers share, page
by page, the modules and objects that it makes before ``gc.freeze``. It never runs an event loop. The
kernel kills it when the supervisor dies.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

import setproctitle

from mpchat import FORM, __version__
from mpchat.compiled import Form
from mpchat.components.component import logger_name
from mpchat.components.handler_base import HandlerBase
from mpchat.dynamic_config.snapshot import Snapshot, from_bytes, to_bytes
from mpchat.dynamic_config.variables import DRAIN
from mpchat.errors import (
    ConfigError,
    ExitCode,
    MpchatError,
    Problem,
    StartError,
    describe_exception,
    describe_os_error,
)
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.layout import LAYOUT
from mpchat.ipc.reopening import report_reopened
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.memfd import read_memfd, sealed_memfd
from mpchat.linux.processes import ignore_group_signals
from mpchat.logs.levels import LEVELS
from mpchat.logs.records import Origin
from mpchat.logs.setup import DirectLogs, set_up_direct
from mpchat.monitor.monitor import run_monitor
from mpchat.rooms.options import RoomsOptions
from mpchat.server.options import ListenerOptions, MonitorListenerOptions
from mpchat.supervisor.timing import Timing
from mpchat.template.certificates import Certificates, certificates_of
from mpchat.template.dynamic import has_values, load_dynamic
from mpchat.template.forking import fork_child
from mpchat.template.loading import Sources
from mpchat.tls.contexts import Contexts
from mpchat.tls.material import CLIENTS, OPERATORS
from mpchat.worker.service import Service
from mpchat.worker.worker import run_worker

log = logging.getLogger("mpchat.template")

_RETRY_SECONDS = 1.0
"""More than the longest wait before another attempt to ask the config service"""
_COLLECT = (700, 10, 50)
"""Thresholds of the garbage collector: Python's own, except that of full collections. With 10,000
connections a full collection takes a tenth of a second, and would run while they connect. Here it runs
after 350,000 new objects, in some workers later; a connection has about 25, and leaves no garbage."""


def run_template(descriptor: int, load: Callable[[Sources], Service]) -> NoReturn:
    """Serve the supervisor at the other end of the channel until it is gone.

    ``load`` validates the service; it reads the static config through the sources that it is given.
    """
    system.set_inheritable(descriptor, False)
    setproctitle.setproctitle("mpchat: template")
    system.sigaction(signal.SIGTERM, signal.SIG_DFL)
    # Until here these signals are ignored, as the supervisor started us.
    ignore_group_signals()
    template = _Template(Channel(system.socket(fileno=descriptor)))
    try:
        template.start(load)
        template.serve()
    except ChannelClosed:
        sys.exit(ExitCode.OK)


@dataclass(frozen=True)
class _Loaded:
    """A generation: the dynamic config, and the certificates of its time."""

    memfds: list[int] = field(default_factory=list)
    """Of the one, and of the others"""
    drain_limit: float = 0.0
    """Seconds that the dynamic config gives workers to end"""
    certificates: list[dict[str, Any]] = field(default_factory=list)
    """What operators may know of them"""
    warnings: list[str] = field(default_factory=list)


@dataclass
class _Template:
    channel: Channel
    service: Service | None = None
    certificates: Certificates | None = None
    snapshot: Snapshot | None = None
    """The generation of the last forked worker"""
    logs: DirectLogs | None = None
    timing: Timing = field(default_factory=Timing)

    def start(self, load: Callable[[Sources], Service]) -> None:
        start, descriptors = self._next()
        assert isinstance(start, messages.Start)
        # Workers inherit the thresholds; an author's module may set others.
        gc.set_threshold(*_COLLECT)
        if start.layout != LAYOUT:
            # The supervisor still runs the code with which the service was started.
            text = "mpchat itself has changed: restart the whole service"
            self._fail(ExitCode.SOFTWARE, text)
        replaces = bool(descriptors) and not start.follows
        sources = Sources.from_bytes(read_memfd(descriptors[0])) if replaces else Sources()
        try:
            service = load(sources)
            self.logs = set_up_direct(service.logging, Origin("template"))
            if not replaces:
                self.logs.open()
            answers = [sealed_memfd("mpchat-static-config", sources.to_bytes())]
            certificates = certificates_of(service)
            loaded = _Loaded()
            if replaces:
                certificates.know(read_memfd(descriptors[1]))
            else:
                said = read_memfd(descriptors[0]) if start.follows else None
                loaded = _load_generation(service, certificates, said)
                answers += loaded.memfds
        except ConfigError as error:
            self._fail(ExitCode.CONFIG, str(error))
        except StartError as error:
            self._fail(error.exit_code, f"mpchat: {error}")
        except MpchatError as error:
            self._fail(ExitCode.SOFTWARE, f"mpchat: {error}")
        except Exception as error:  # noqa: BLE001 - the author's modules may raise anything
            text = f"{describe_exception(error)}mpchat: the service could not be loaded"
            self._fail(ExitCode.SOFTWARE, text)
        log_form(FORM)
        warnings = [*service.warnings, *loaded.warnings]
        plan = plan_of(service, loaded.drain_limit, warnings, loaded.certificates)
        messages.send(self.channel, plan, answers)
        fds.close_all((*answers, *descriptors))
        self.service, self.certificates = service, certificates
        rooms = service.rooms()
        if rooms is not None:
            _broker_code(rooms.options)
        gc.collect()
        gc.freeze()

    def serve(self) -> NoReturn:
        while True:
            message, descriptors = self._next()
            match message:
                case (
                    messages.ForkWorker()
                    | messages.ForkMonitor()
                    | messages.ForkBroker()
                    | messages.ForkConsole()
                ):
                    self._fork(message, descriptors)
                case messages.ReloadRequest():
                    self._reload(message, descriptors)
                case messages.Ping():
                    messages.send(self.channel, messages.Pong())
                case messages.ReopenLogs():
                    assert self.logs is not None
                    report_reopened(descriptors, self.logs.reopen())
                case _:
                    raise ValueError(f"the supervisor sent {type(message).__name__}")

    def _next(self) -> tuple[messages.Message, list[int]]:
        while (received := messages.receive(self.channel)) is None:
            self.channel.wait()
        return received

    def _fail(self, exit_code: ExitCode, text: str) -> NoReturn:
        messages.send(self.channel, messages.Failure(exit_code, text))
        sys.exit(exit_code)

    def _fork(
        self,
        request: messages.ForkWorker
        | messages.ForkMonitor
        | messages.ForkBroker
        | messages.ForkConsole,
        descriptors: list[int],
    ) -> None:
        try:
            if isinstance(request, messages.ForkMonitor):
                self._fork_monitor(request, messages.MonitorDescriptors(*descriptors))
            elif isinstance(request, messages.ForkBroker):
                self._fork_broker(request, messages.BrokerDescriptors(*descriptors))
            elif isinstance(request, messages.ForkConsole):
                self._fork_console(request, messages.ConsoleDescriptors(*descriptors))
            else:
                self._fork_worker(request, messages.WorkerDescriptors(*descriptors))
            messages.send(self.channel, messages.Forked())
        except OSError as error:
            messages.send(self.channel, messages.ForkFailed(describe_os_error(error)))
        finally:
            fds.close_all(descriptors)

    def _fork_monitor(
        self, request: messages.ForkMonitor, descriptors: messages.MonitorDescriptors
    ) -> None:
        service, limit = self.service, self.timing.orphan_limit
        assert service is not None
        pool, hang_timeout = service.pool, service.server.worker_hang_timeout
        fork_child(
            descriptors,
            [self.channel.fileno()],
            "mpchat: monitor",
            lambda channel: run_monitor(
                request,
                channel,
                descriptors,
                pool,
                service.logging,
                limit,
                hang_timeout,
                service.settings,
                service.keys,
                service.console_missing,
            ),
        )

    def _fork_broker(
        self, request: messages.ForkBroker, descriptors: messages.BrokerDescriptors
    ) -> None:
        service, heartbeat = self.service, self.timing.heartbeat
        assert service is not None
        rooms = service.rooms()
        assert rooms is not None
        run_broker = _broker_code(rooms.options)
        fork_child(
            descriptors,
            [self.channel.fileno()],
            "mpchat: broker",
            lambda channel: run_broker(
                request, channel, descriptors, service.logging, rooms.options, heartbeat
            ),
        )

    def _fork_console(
        self, request: messages.ForkConsole, descriptors: messages.ConsoleDescriptors
    ) -> None:
        service, heartbeat = self.service, self.timing.heartbeat
        assert service is not None
        assert self.certificates is not None
        contexts = self.certificates.contexts_of(request.generation, descriptors.certificates)
        tls = contexts.get(OPERATORS)
        fork_child(
            descriptors,
            [self.channel.fileno()],
            "mpchat: console",
            lambda channel: _run_console(request, channel, descriptors, service, heartbeat, tls),
        )

    def _fork_worker(
        self, request: messages.ForkWorker, descriptors: messages.WorkerDescriptors
    ) -> None:
        service, heartbeat = self.service, self.timing.heartbeat
        assert service is not None
        assert self.certificates is not None
        snapshot = self._snapshot_of(service, request.generation, descriptors.generation)
        contexts = self.certificates.contexts_of(request.generation, descriptors.certificates)
        tls = contexts.get(CLIENTS)
        fork_child(
            descriptors,
            [self.channel.fileno()],
            f"mpchat: worker {service.pool}/{request.slot}",
            lambda channel: run_worker(
                request, channel, descriptors, service, snapshot, heartbeat, tls
            ),
        )

    def _snapshot_of(self, service: Service, generation: int, memfd: int) -> Snapshot:
        """Build a generation once for all workers that use it."""
        if self.snapshot is None or self.snapshot.generation != generation:
            self.snapshot = Snapshot(generation, from_bytes(read_memfd(memfd)), service.keys)
        return self.snapshot

    def _reload(self, request: messages.ReloadRequest, descriptors: list[int]) -> None:
        assert self.service is not None
        assert self.certificates is not None
        if request.follows and not descriptors:
            text = "the template has no descriptor left for what the config service has said"
            messages.send(self.channel, messages.ReloadFailed(text))
            return
        try:
            said = read_memfd(descriptors[0]) if descriptors else None
            loaded = _load_generation(self.service, self.certificates, said)
        except ConfigError as error:
            messages.send(self.channel, messages.ReloadFailed(str(error)))
            return
        except Exception as error:  # noqa: BLE001 - an author's check may raise anything
            messages.send(self.channel, messages.ReloadFailed(describe_exception(error)))
            return
        finally:
            fds.close_all(descriptors)
        answer = messages.Snapshot(loaded.drain_limit, loaded.certificates, loaded.warnings)
        messages.send(self.channel, answer, loaded.memfds)
        fds.close_all(loaded.memfds)


def _broker_code(options: RoomsOptions) -> Callable[..., None]:
    """Return ``run_broker``, imported only where there are rooms, and before the first fork."""
    if options.engine == "nats":
        from mpchat.broker.nats.process import run_nats_broker  # noqa: PLC0415

        return run_nats_broker
    from mpchat.broker.process import run_broker  # noqa: PLC0415

    return run_broker


def _run_console(
    request: messages.ForkConsole,
    channel: Channel,
    descriptors: messages.ConsoleDescriptors,
    service: Service,
    heartbeat: float,
    tls: Contexts | None,
) -> None:
    """Run the console, which imports its libraries itself: no other process needs their memory."""
    from mpchat.console.process import run_console  # noqa: PLC0415 - see above

    assert service.console is not None
    run_console(
        request,
        channel,
        descriptors,
        service.console,
        service.logging,
        service.pool,
        service.server.worker_hang_timeout,
        heartbeat,
        service.keys,
        _loggers_of(service),
        tls,
    )


def _loggers_of(service: Service) -> dict[str, int]:
    """Return the loggers of a service's components, and their own levels, 0 for those without one."""
    levels = {}
    for plan in service.components:
        wanted = plan.options.log_level if issubclass(plan.cls, HandlerBase) else None
        levels[logger_name(plan.cls, plan.name)] = 0 if wanted is None else LEVELS[wanted]
    return levels


def _history_of(options: RoomsOptions) -> int:
    """Return the bytes that the supervisor keeps for the rooms' history; a stream keeps its own."""
    return options.history_memory if options.engine == "host" else 0


def log_form(form: Form) -> None:
    """Log how the workers' hot path will run; they are forked from this process."""
    level = logging.INFO if form.compiled or form.wanted else logging.WARNING
    log.log(level, "the hot path is %s", form)


def _load_generation(service: Service, certificates: Certificates, said: bytes | None) -> _Loaded:
    """Read and validate the dynamic config and the certificates.

    Raises:
        ConfigError: All mistakes of both.
    """
    problems: list[Problem] = []
    try:
        loaded = load_dynamic(service, said)
    except ConfigError as error:
        problems += error.problems
    try:
        found = certificates.load(time.time())
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    drain = Snapshot(0, loaded.values, service.keys)[DRAIN]
    content = to_bytes(loaded.values, loaded.origins)
    memfds = [sealed_memfd("mpchat-generation", content)]
    try:
        memfds.append(sealed_memfd("mpchat-certificates", found.content))
    except OSError:
        fds.close_all(memfds)
        raise
    return _Loaded(
        memfds,
        (drain.lameduck_ms + drain.deadline_ms) / 1000,
        found.shown,
        [*loaded.warnings, *found.warnings],
    )


def plan_of(
    service: Service, limit: float, warnings: list[str], certificates: list[dict[str, Any]]
) -> messages.Plan:
    """Return what of a service a supervisor needs; ``limit`` is the longest stop, in seconds.

    ``certificates`` are as ``tls.shown`` has them.
    """
    default = service.logging.loggers["default"]
    rooms = service.rooms()
    console = service.console
    return messages.Plan(
        pool=service.pool,
        workers=service.workers,
        listener=_place_of(service.server.listener),
        log_path=default.file_path,
        log_format=default.format,
        log_level=LEVELS[default.level],
        path=service.path_to_show(),
        stop_limit=limit,
        hang_timeout=service.server.worker_hang_timeout,
        max_lifetime=service.server.worker_max_lifetime,
        version=__version__,
        history=_history_of(rooms.options) if rooms is not None else None,
        control_socket=service.server.control_socket,
        metrics=[entry.to_json() for entry in service.metrics()],
        console=_place_of(console.listener) if console is not None and console.listener else None,
        config_service=_config_service_of(service),
        certificates=certificates,
        warnings=warnings,
    )


def _config_service_of(service: Service) -> dict[str, Any] | None:
    """Return what a Plan has of the config service that is followed."""
    followed = service.config_service
    if followed is None:
        return None
    client = followed.client
    attempts = max(1, client.http_retries)
    return {
        "first_limit": attempts * (client.http_timeout + _RETRY_SECONDS),
        "has_values": has_values(service),
    }


def _place_of(listener: ListenerOptions | MonitorListenerOptions) -> dict[str, Any]:
    """Return where a listener listens, as a Plan has it."""
    return {
        "address": listener.address,
        "port": listener.port,
        "unix_socket": listener.unix_socket,
        "unix_socket_permissions": listener.unix_socket_permissions,
        "backlog": listener.backlog,
        "tls": listener.tls is not None,
    }
