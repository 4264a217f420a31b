"""Child processes as the supervisor sees them: a channel, a process once it said hello, a fault file.

Rules. A child's life is its channel: it opens before the fork and ends with it, so a child that dies
before its first message is noticed, too. The fault memfd holds what the child wrote when it crashed.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass

from mpchat.ipc.channel import Channel, ChannelClosed, read_memfd
from mpchat.ipc.messages import Message, send
from mpchat.ipc.process import IGNORED_BY_CHILDREN, die_with_parent

CHANNEL_VARIABLE = "MPCHAT_TEMPLATE_CHANNEL"
"""Tells a command line that it runs as the template, and on which descriptor its channel is."""

STDERR_VARIABLE = "MPCHAT_TEMPLATE_STDERR"
"""Tells it where its stderr is, if what it writes until it is loaded goes to the supervisor instead."""

_WORDS_BYTES = 64 * 1024


@dataclass
class Child:
    """The template, the monitor, or one worker."""

    name: str
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
    """Of how many slots it was told the inbox, from slot 0 on"""
    sent_generation: int = 0
    applied_generation: int = 0
    open: bool = True
    closed_at: float = 0.0

    @property
    def is_template(self) -> bool:
        return self.name == "template"

    def identify(self, pid: int) -> None:
        """Note the process behind the channel; it is ours and not yet waited for."""
        self.pid = pid
        self.pidfd = os.pidfd_open(pid)

    def send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        """Send; a child that is gone is noticed by its channel's end, not here."""
        try:
            send(self.channel, message, descriptors)
        except ChannelClosed:
            return

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal the process, and no other that got its pid."""
        if self.pidfd >= 0:
            try:
                signal.pidfd_send_signal(self.pidfd, number)
            except ProcessLookupError:
                return

    def last_words(self) -> str:
        """Return what the child wrote into its fault file, as far as anybody would read it."""
        if self.fault < 0:
            return ""
        return read_memfd(self.fault)[:_WORDS_BYTES].decode("utf-8", "replace").strip()

    def release(self) -> None:
        """Close everything the supervisor holds of it."""
        self.channel.close()
        for descriptor in (self.pidfd, self.fault):
            if descriptor >= 0:
                os.close(descriptor)
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
    command: list[str], environment: Mapping[str, str], *, listens: bool = False
) -> Child:
    """Start the original command line anew as a template, and return it.

    With ``listens`` its fault file takes what it writes to stderr before it is loaded, such as the
    traceback of a module that cannot be imported.

    The template dies with the supervisor: it has no clients to say goodbye to. What is meant for the
    service manager (NOTIFY_SOCKET) is not handed down.
    """
    inherited = {name: value for name, value in environment.items() if name != "NOTIFY_SOCKET"}
    channel, far = Channel.pair()
    fault = os.memfd_create("mpchat-fault", os.MFD_CLOEXEC) if listens else -1
    pid = os.fork()
    if pid == 0:
        try:
            die_with_parent()
            for number in IGNORED_BY_CHILDREN:
                signal.signal(number, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            os.set_inheritable(far.fileno(), True)
            inherited[CHANNEL_VARIABLE] = str(far.fileno())
            if listens:
                stderr = os.dup(2)
                os.set_inheritable(stderr, True)
                inherited[STDERR_VARIABLE] = str(stderr)
                os.dup2(fault, 2)
            os.execve(command[0], command, inherited)
        except OSError as error:
            os.write(2, f"mpchat: cannot start {command[0]}: {error}\n".encode())
        finally:
            os._exit(70)
    far.close()
    child = Child("template", channel, fault=fault)
    child.identify(pid)
    return child
