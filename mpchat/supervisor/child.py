"""Child processes as the supervisor sees them: a channel, a process once it said hello, a fault file.

Rules. A child's channel opens before the fork and closes with the child, so even a death before the
first message is noticed. The fault memfd holds the output of a crash. Children are not trusted: one that
sends a message that it may not send is killed and replaced.
"""

from __future__ import annotations

import enum
import os
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed, ChannelFull, MalformedMessage
from mpchat.ipc.messages import Message
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.memfd import read_memfd
from mpchat.linux.processes import (
    IGNORED_BY_CHILDREN,
    die_before_the_supervisor,
    die_with_parent,
)
from mpchat.supervisor.answers import Answers
from mpchat.supervisor.environment import CHANNEL_VARIABLE, STDERR_VARIABLE

_WORDS_BYTES = 64 * 1024
_EXIT_CANNOT_EXEC = 70
_FAULTS = 3
"""Messages of one child that fail within _FAULTS_SECONDS before it is replaced."""
_FAULTS_SECONDS = 10.0


class Role(enum.Enum):
    """The place of a child in the service."""

    TEMPLATE = "template"
    NEXT_TEMPLATE = "next template"
    """Loads what a restart brings, and forks its workers"""
    MONITOR = "monitor"
    NEXT_MONITOR = "next monitor"
    """Takes over the control socket at the end of a restart"""
    BROKER = "broker"
    """Orders the rooms, where the service has any"""
    CONSOLE = "console"
    """Shows operators what runs, where the config has a listener for it"""
    LEAVING = "leaving"
    """A template or monitor that was replaced and has not ended yet"""
    WORKER = "worker"


_MAY_SEND: dict[Role, tuple[type[Message], ...]] = {
    Role.TEMPLATE: messages.FROM_TEMPLATE,
    Role.MONITOR: messages.FROM_MONITOR,
    Role.BROKER: messages.FROM_BROKER,
    Role.CONSOLE: messages.FROM_CONSOLE,
    Role.WORKER: messages.FROM_WORKER,
}


@dataclass
class Child:
    """A template, a monitor, a broker, a console, or a worker."""

    name: str
    role: Role
    channel: Channel
    number: int = 0
    slot: int = 0
    row: int = 0
    edition: int = 0
    """Of the code and static config that it runs"""
    pid: int = 0
    pidfd: int = -1
    fault: int = -1
    ready: bool = False
    status: int | None = None
    kill_reason: str = ""
    inboxes: int = 0
    """Number of slots whose inbox it was sent, counted from slot 0"""
    sent_generation: int = 0
    applied_generation: int = 0
    offer_at: float = 0.0
    """It is given no newer generation before this time: the last one was refused"""
    open: bool = True
    closed_at: float = 0.0
    watched: bool = False
    """Whether the current monitor holds its pidfd"""
    answers: Answers = field(default_factory=Answers)
    """Of a template"""
    _received: tuple[Message, list[int]] | None = None
    """A message that is not dealt with yet"""
    _faults: deque[float] = field(default_factory=deque)

    def __post_init__(self) -> None:
        self._may_send = _MAY_SEND[self.role]

    @property
    def lives(self) -> bool:
        """Whether its process is known and not known to have ended."""
        return self.pid > 0 and self.status is None

    def identify(self, pid: int) -> None:
        """Note the process behind the channel.

        Raises:
            MalformedMessage: Another process than the one that sent it, or a second name.
        """
        if self.pid or pid != self.channel.sender:
            raise MalformedMessage(f"it says that it is process {pid}")
        self.pid = pid

    def open_pidfd(self) -> bool:
        """Open a pidfd for the monitor and for polls; return whether there is one."""
        if self.pidfd < 0 and self.lives:
            try:
                self.pidfd = system.pidfd_open(self.pid)
            except OSError:
                # No descriptor or no memory is left, or it has just ended; the next look tries again.
                return False
        return self.pidfd >= 0

    def next_message(self) -> tuple[Message, list[int]] | None:
        """Return the oldest message that ``settle`` was not called for, or None.

        Raises:
            ChannelClosed, MalformedMessage, OSError: See Channel.receive.
        """
        if self._received is None:
            self._received = messages.receive_from(self.channel, self._may_send)
        return self._received

    def settle(self) -> None:
        """The last message has been dealt with, its descriptors included."""
        self._received = None

    def fails_often(self, now: float) -> bool:
        """Count a message that could not be dealt with; return whether there were too many lately."""
        self._faults.append(now)
        while now - self._faults[0] > _FAULTS_SECONDS:
            self._faults.popleft()
        return len(self._faults) >= _FAULTS

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Send; a child that is gone is noticed by its channel's end, not here.

        Raises:
            OSError: Of a message with descriptors, or of a large one: the system refuses what it takes
                to send it. Nothing is sent.
        """
        if not self.open:
            return
        try:
            messages.send(self.channel, message, descriptors)
        except ChannelClosed:
            return
        except ChannelFull as error:
            self.end(f"it does not read what it is told: {error}")

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the process.

        Raises:
            OSError: The system refuses it.
        """
        if not self.lives:
            return
        try:
            # Nobody but us takes its exit status, so the pid is its own as long as there is none.
            system.kill(self.pid, number)
        except ProcessLookupError:
            return

    def end(self, reason: str) -> None:
        """Give the child up: kill it, now or as soon as the system allows, and tell it no more."""
        self.kill_reason = reason
        self.channel.close()
        self.open = False
        # If the kill is refused now, the next look kills it as unreachable.
        self.closed_at = 0.0
        try:
            self.kill()
        except OSError:
            return

    def last_words(self) -> str:
        """Return the beginning of what the child wrote into its fault file."""
        if self.fault < 0:
            return ""
        try:
            words = read_memfd(self.fault, _WORDS_BYTES)
        except OSError as error:
            return f"(what it said last cannot be read: {error.strerror})"
        return words.decode("utf-8", "replace").strip()

    def release(self) -> None:
        """Close everything the supervisor holds of it."""
        if self._received is not None:
            fds.close_all(self._received[1])
            self._received = None
        self.channel.close()
        fds.close_all(held for held in (self.pidfd, self.fault) if held >= 0)
        self.pidfd = self.fault = -1


def describe_status(status: int | None) -> str:
    """Say how a process ended."""
    if status is None:
        return "ended before it could say its pid"
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            name = signal.Signals(number).name
        except ValueError:
            name = f"signal {number}"
        return f"killed by {name}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def exec_template(
    command: list[str],
    environment: Mapping[str, str],
    start: messages.Start,
    files: tuple[int, ...] = (),
    *,
    listens: bool = False,
    folder: str | None = None,
) -> Child:
    """Start the original command line again as a template, and return it.

    ``start`` is its first message, sent with the descriptors ``files``. With ``listens`` its stderr goes
    into its fault file until it is loaded, such as the traceback of a module that cannot be imported.
    It runs in ``folder``, by default the supervisor's own.

    The template dies with the supervisor, since it has no clients to close. NOTIFY_SOCKET is the
    supervisor's alone.

    Raises:
        OSError: The system refuses it; nothing is left behind.
    """
    inherited = {name: value for name, value in environment.items() if name != "NOTIFY_SOCKET"}
    channel, far = Channel.pair()
    child = Child("template", Role.TEMPLATE, channel)
    try:
        # Before the fork, after which nothing may fail any more.
        messages.send(channel, start, files)
        if listens:
            child.fault = system.memfd_create("mpchat-fault", os.MFD_CLOEXEC)
        pid = system.fork()
    except BaseException:
        child.release()
        system.close_socket(far)
        raise
    if pid == 0:
        _exec(command, inherited, far.fileno(), child.fault, folder)
    system.close_socket(far)
    child.pid = pid
    return child


def _exec(
    command: list[str], environment: dict[str, str], channel: int, fault: int, folder: str | None
) -> NoReturn:
    try:
        die_with_parent()
        die_before_the_supervisor()
        for number in IGNORED_BY_CHILDREN:
            system.sigaction(number, signal.SIG_IGN)
        system.sigaction(signal.SIGTERM, signal.SIG_DFL)
        system.sigaction(signal.SIGCHLD, signal.SIG_DFL)
        system.sigmask(signal.SIG_SETMASK, ())
        system.set_inheritable(channel, True)
        environment[CHANNEL_VARIABLE] = str(channel)
        if fault >= 0:
            stderr = system.dup(2)
            system.set_inheritable(stderr, True)
            environment[STDERR_VARIABLE] = str(stderr)
            system.dup2(fault, 2)
        if folder is not None:
            system.chdir(folder)
            environment["PWD"] = folder
        system.execve(command[0], command, environment)
    except OSError as error:
        text = f"mpchat: cannot start {command[0]}: {error}\n"
        system.write(2, text.encode("utf-8", "backslashreplace"))
    finally:
        os._exit(_EXIT_CANNOT_EXEC)
