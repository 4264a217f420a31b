"""``serve --no-fork``: a worker's code in the command's own process, for ``breakpoint()`` and debuggers.

Rules. There is no supervisor, template or monitor. A thread stands in for them at the other end of the
worker's channel: it announces the service, turns signals into messages, and answers the control socket.
Orders that one worker can carry out are carried out; all others are refused by name. Where there are
rooms, their broker runs in the thread's loop. A debugger holds the main thread and nothing else, and
nobody minds how long.

The thread hears of signals by the wake-up descriptor, which C code writes to. A handler in Python would
run in the main thread only, and not before that turns: what is typed just before a debugger waits for a
line, or what the kernel hands to another thread, does not end that wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pdb
import signal
import socket
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING, Any

from mpchat.development.service import PATIENCE
from mpchat.dynamic_config.in_force import ConfigInForce, Failure
from mpchat.dynamic_config.snapshot import Snapshot, from_bytes, to_bytes
from mpchat.errors import (
    ConfigError,
    ExitCode,
    StartError,
    describe_failure,
    describe_os_error,
)
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.ipc.control import ControlError
from mpchat.linux import descriptors as fds
from mpchat.linux.memfd import sealed_memfd
from mpchat.linux.socket_file import SocketFile
from mpchat.metrics.memory import Memory
from mpchat.monitor.control import Control
from mpchat.monitor.listening import listen
from mpchat.scoreboard.scoreboard import WORKER_STATES, Scoreboard
from mpchat.scoreboard.status import ConsolePlace, Status
from mpchat.supervisor.history import Histories
from mpchat.supervisor.sockets import Sockets
from mpchat.supervisor.systemd import ServiceManager
from mpchat.supervisor.timing import Timing
from mpchat.template.certificates import Certificates, certificates_of
from mpchat.template.dynamic import load_dynamic
from mpchat.template.template import plan_of
from mpchat.tls.material import CLIENTS
from mpchat.worker.service import Service
from mpchat.worker.worker import run_worker

if TYPE_CHECKING:
    from mpchat.development.rooms import LocalBroker

log = logging.getLogger("mpchat.development")

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)
_OTHERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_SLOT, _ROW = 0, 0


def serve_single(service: Service, timing: Timing | None = None) -> int:
    """Run a service in this process until it is asked to stop, and return the exit code.

    Raises:
        ConfigError: The dynamic config has mistakes.
        StartError: The service cannot run here, or its code fails at the start.
    """
    certificates = certificates_of(service)
    loaded, found = load_dynamic(service), certificates.load(time.time())
    warnings = [*service.warnings, *loaded.warnings, *found.warnings]
    if service.config_service is not None:
        warnings.append("the config service is not asked in a single process")
    plan = replace(plan_of(service, 0.0, warnings, found.shown), workers=1)
    with contextlib.ExitStack() as cleanup:
        sockets = Sockets(plan)
        cleanup.callback(sockets.close)
        listening, file = listen(sockets.control_socket(plan))
        cleanup.callback(file.remove)
        config = ConfigInForce(1, time.time(), to_bytes(loaded.values, loaded.origins))
        generation = sealed_memfd("mpchat-generation", config.content)
        kept = sealed_memfd("mpchat-certificates", found.content)
        tls = certificates.contexts_of(1, kept).get(CLIENTS)
        snapshot = Snapshot(1, from_bytes(config.content), service.keys)
        near, far = Channel.pair()
        board = Scoreboard.create()
        timing = timing or Timing()
        histories = Histories()
        histories.prepare(plan.history)
        history = histories.of(plan.history)
        stand_in = _StandIn(
            service,
            plan,
            sockets,
            board,
            near,
            listening,
            file,
            history,
            timing,
            config,
            certificates,
        )
        descriptors = messages.WorkerDescriptors(
            channel=far.fileno(),
            scoreboard=os.dup(board.descriptor),
            fault=os.dup(2),
            generation=generation,
            certificates=kept,
            listening=os.dup(sockets.listeners.sockets[_SLOT].fileno()),
            inbox=os.dup(sockets.inboxes.of(_SLOT).fileno()),
            metrics=Memory.create(service.metrics()).descriptor,
        )
        request = messages.ForkWorker(_SLOT, _ROW, snapshot.generation, {}, {})
        sys.breakpointhook = _debug
        with stand_in.standing_in():
            try:
                run_worker(
                    request,
                    Channel(far),
                    descriptors,
                    service,
                    snapshot,
                    timing.heartbeat,
                    tls,
                    start_limit=PATIENCE,
                    take_signals=stand_in.take_signals,
                )
            except Exception as error:
                text = f"the service has failed\n{describe_failure(error).rstrip()}"
                raise StartError(text, ExitCode.SOFTWARE) from error
    return ExitCode.OK


def _debug(*arguments: Any, **keywords: Any) -> None:
    """Start the debugger; unlike pdb's own hook, leave Ctrl-C to the service."""
    if os.environ.get("PYTHONBREAKPOINT"):
        sys.__breakpointhook__(*arguments, **keywords)
    else:
        pdb.Pdb(nosigint=True).set_trace(sys._getframe(1))


class _StandIn:
    """Does for one worker what supervisor and monitor would do."""

    def __init__(
        self,
        service: Service,
        plan: messages.Plan,
        sockets: Sockets,
        board: Scoreboard,
        channel: Channel,
        listening: socket.socket,
        file: SocketFile,
        history: int | None,
        timing: Timing,
        config: ConfigInForce,
        certificates: Certificates,
    ) -> None:
        self._certificates = certificates
        self._service = service
        self._plan = plan
        self._sockets = sockets
        self._board = board
        self._channel = channel
        self._listening = listening
        self._file = file
        self._timing = timing
        self._loop = asyncio.new_event_loop()
        self._config = config
        self._applied = config.generation
        self._has_applied = asyncio.Condition()
        self._history = history
        self._broker: LocalBroker | None = None
        self._over = asyncio.Event()
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._terminal = _terminal_settings()
        self._manager = ServiceManager(os.environ)
        self._signals, self._wake_up = socket.socketpair()
        for end in (self._signals, self._wake_up):
            end.setblocking(False)
        self._loop.add_reader(self._signals, self._on_signals)
        self._reader = Status(
            plan.version,
            board,
            sockets.address(plan),
            plan.pool,
            os.getpid(),
            plan.hang_timeout,
            ConsolePlace(missing=service.console_missing),
        )
        self._reader.certificates = plan.certificates
        self._heard_before: list[int] = []
        """Wake-up descriptors of those who heard of signals before us, and hear of them from us"""

    @contextlib.contextmanager
    def standing_in(self) -> Iterator[None]:
        """Stand in while the block runs, which is the worker; signals are ours."""
        thread = threading.Thread(target=self._run, name="stand-in", daemon=True)
        for number in (*_ENDING, *_OTHERS):
            signal.signal(number, _leave_to_the_thread)
        self.take_signals()
        thread.start()
        try:
            yield
        finally:
            for number in (*_ENDING, *_OTHERS):
                # Nobody is left to act on them, and the process is about to exit.
                signal.signal(number, signal.SIG_IGN)
            signal.set_wakeup_fd(-1)
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join()
            for end in (self._signals, self._wake_up):
                end.close()
            for other in self._heard_before:
                os.close(other)

    def take_signals(self) -> None:
        """Hear of signals from now on; an event loop that did so goes on to, by us."""
        before = signal.set_wakeup_fd(self._wake_up.fileno(), warn_on_full_buffer=False)
        if before not in {-1, self._wake_up.fileno()}:
            # A copy: the loop closes its own, and another file could have that number then.
            self._heard_before.append(os.dup(before))

    async def give(
        self, verb: str, *descriptors: int, arguments: dict[str, Any] | None = None
    ) -> messages.OrderDone:
        """Carry out an order; see Orders.give.

        Raises:
            ControlError: It needs a supervisor, or failed.
        """
        match verb:
            case "reload":
                await self._reload()
            case "connections":
                report = messages.parse("Report", arguments or {})
                assert isinstance(report, messages.Report)
                if report.pid in {None, os.getpid()}:
                    messages.send(self._channel, report, descriptors)
            case "rooms":
                if self._broker is None:
                    raise ControlError("this service has no rooms")
                rooms = messages.parse("ReportRooms", arguments or {})
                assert isinstance(rooms, messages.ReportRooms)
                self._broker.report(rooms, os.dup(descriptors[0]))
            case "reopen":
                messages.send(self._channel, messages.ReopenLogs(), descriptors)
                told = {str(os.getpid()): "the service"}
                return messages.OrderDone(0, self._generation, answer=told)
            case "listeners":
                try:
                    found = self._sockets.listeners.describe()
                except OSError as error:
                    raise ControlError(describe_os_error(error)) from error
                return messages.OrderDone(0, self._generation, answer=found)
            case "log-level":
                messages.send(self._channel, messages.parse("LogLevel", arguments or {}))
            case _:
                raise ControlError(_refusal(verb))
        return messages.OrderDone(0, self._generation)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop.add_reader(self._channel.fileno(), self._read)
        self._start_broker()
        control = Control(self._reader, self, self._service.settings, self._describe_config)
        async with control.listening(self._listening):
            while not self._over.is_set():
                self._board.set_service("beat_at", _milliseconds())
                if self._broker is not None:
                    self._broker.show()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._over.wait(), self._timing.heartbeat)
        if self._broker is not None:
            self._broker.close()

    def _start_broker(self) -> None:
        """Connect the worker to a broker, if the service has rooms."""
        rooms = self._service.rooms()
        if rooms is None:
            return
        from mpchat.development.rooms import LocalBroker  # noqa: PLC0415 - only where there are rooms

        if rooms.options.engine != "host":
            log.warning("rooms are not shared with other hosts while one process serves everything")

        self._broker = LocalBroker(
            self._loop, rooms.options, self._history, self._board, self._channel
        )
        self._broker.connect()

    def _read(self) -> None:
        try:
            while (received := messages.receive(self._channel)) is not None:
                self._on_message(*received)
        except ChannelClosed:
            self._loop.remove_reader(self._channel.fileno())

    def _on_message(self, message: messages.Message, descriptors: list[int]) -> None:
        match message:
            case messages.Ready():
                self._announce()
            case messages.Applied():
                self._spawn(self._note(message.number))
            case messages.PairLost() if self._broker is not None:
                self._broker.connect()
            case messages.Order():
                self._spawn(self._carry_out(message, descriptors))
            case _:
                raise ValueError(f"the worker sent {type(message).__name__}")

    def _announce(self) -> None:
        board, now = self._board, _milliseconds()
        for name, value in (("slots", 1), ("generation", self._generation), ("started", now)):
            board.set_service(name, value)
        ready = WORKER_STATES.index("ready")
        for name, value in (("wanted", 1), ("state_0", ready), ("pid_0", os.getpid())):
            board.set_slot(_SLOT, name, value)
        board.set_slot(_SLOT, "since_0", now)
        text = f"{self._sockets.address(self._plan)}, in this process alone"
        # One write with its newline: the main thread may write meanwhile, to a terminal as well.
        sys.stdout.write(f"mpchat {self._plan.version} pid {os.getpid()}: {text}\n")
        sys.stdout.flush()
        self._manager.ready(self._status())
        for warning in self._plan.warnings:
            log.warning("%s", warning)

    @property
    def _generation(self) -> int:
        return self._config.generation

    async def _describe_config(self) -> dict[str, Any]:
        return self._config.describe(self._service.keys)

    def _status(self) -> str:
        return f"one process, dynamic config generation {self._generation}"

    async def _carry_out(self, order: messages.Order, descriptors: list[int]) -> None:
        """Carry out an order of one of the worker's components."""
        error = ""
        try:
            await self.give(order.verb, *descriptors, arguments=order.arguments)
        except ControlError as refused:
            error = str(refused)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        messages.send(self._channel, messages.OrderDone(order.number, self._generation, error))

    async def _reload(self) -> None:
        try:
            loaded = load_dynamic(self._service)
            found = self._certificates.load(time.time())
        except ConfigError as error:
            self._config = replace(self._config, reload_failure=Failure(str(error), time.time()))
            raise ControlError(str(error)) from error
        number = self._generation + 1
        content = to_bytes(loaded.values, loaded.origins)
        self._config = ConfigInForce(number, time.time(), content)
        self._board.set_service("generation", number)
        self._reader.certificates = found.shown
        memfds = [
            sealed_memfd("mpchat-generation", content),
            sealed_memfd("mpchat-certificates", found.content),
        ]
        messages.send(self._channel, messages.Generation(number), memfds)
        fds.close_all(memfds)
        try:
            async with asyncio.timeout(self._timing.apply_limit), self._has_applied:
                await self._has_applied.wait_for(lambda: self._applied >= number)
        except TimeoutError as error:
            text = f"the dynamic config is applied as soon as the event loop turns again; {_HELD}"
            raise ControlError(text) from error
        for warning in (*loaded.warnings, *found.warnings):
            log.warning("%s", warning)
        log.info("dynamic config generation %d is applied", number)

    async def _note(self, generation: int) -> None:
        async with self._has_applied:
            self._applied = generation
            self._has_applied.notify_all()

    # Signals

    def _on_signals(self) -> None:
        numbers = self._signals.recv(4096)
        for other in self._heard_before:
            with contextlib.suppress(OSError):
                os.write(other, numbers)
        for number in numbers:
            # An author's code may have taken one for itself.
            if signal.getsignal(number) is _leave_to_the_thread:
                self._on_signal(signal.Signals(number))

    def _on_signal(self, number: signal.Signals) -> None:
        match number:
            case signal.SIGINT | signal.SIGTERM:
                self._stop(at_once=self._stopping)
            case signal.SIGQUIT:
                self._stop(at_once=True)
            case signal.SIGHUP:
                self._spawn(self._reload_by_signal())
            case signal.SIGUSR1:
                messages.send(self._channel, messages.ReopenLogs())
            case signal.SIGUSR2:
                log.warning("%s", _refusal("restart"))

    async def _reload_by_signal(self) -> None:
        reason = ""
        self._manager.reloading()
        try:
            await self._reload()
        except ControlError as error:
            reason = str(error)
        for line in reason.splitlines():
            log.error("%s", line)
        self._manager.ready(self._status())

    def _stop(self, *, at_once: bool) -> None:
        log.info("stopping%s", " now: clients are not waited for" if at_once else "")
        self._stopping = True
        self._manager.stopping()
        self._sockets.stop_listening()
        messages.send(self._channel, messages.Stop(at_once))
        if at_once:
            self._loop.call_later(self._timing.now_limit, self._end_at_once)
        else:
            self._loop.call_later(self._timing.help, self._explain)

    def _explain(self) -> None:
        beat_at = self._board.read(_SLOT, _ROW, "beat_at")
        if not self._over.is_set() and _milliseconds() - beat_at > 1000 * self._timing.help:
            text = (
                "the service stops when its event loop turns again, and at once at the next Ctrl-C"
            )
            print(f"mpchat: {text}; {_HELD}", file=sys.stderr, flush=True)

    def _end_at_once(self) -> None:
        """End though the main thread does not; a debugger may have changed the terminal."""
        if self._terminal is not None:
            termios.tcsetattr(0, termios.TCSANOW, self._terminal)
        self._file.remove()
        self._sockets.close()
        os._exit(ExitCode.OK)

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


_HELD = "is it held by a debugger?"


def _leave_to_the_thread(number: int, frame: FrameType | None) -> None:
    return


def _refusal(verb: str) -> str:
    return f"{verb} needs a supervisor, and this service runs without one (--no-fork)"


def _milliseconds() -> int:
    return int(time.monotonic() * 1000)


def _terminal_settings() -> list[Any] | None:
    try:
        return termios.tcgetattr(0)
    except termios.error:
        return None
