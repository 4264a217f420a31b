"""Two forks, so that a child of the template becomes a child of the supervisor.

Rules. The process in between ends at once, and the supervisor, the subreaper, adopts the grandchild: so
the supervisor gets every exit status. Signals are blocked around the forks, since no handler may run in a
half-made process. A forked process never returns to the template's code: it ends by ``os._exit``, since
the exit hooks of the author's imports belong to the template.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import NoReturn, TypeAlias

import setproctitle

from mpchat.errors import describe_failure
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.ipc.messages import (
    BrokerDescriptors,
    ConsoleDescriptors,
    MonitorDescriptors,
    WorkerDescriptors,
)
from mpchat.linux import descriptors as fds
from mpchat.linux import system
from mpchat.linux.processes import ignore_group_signals

Given: TypeAlias = WorkerDescriptors | MonitorDescriptors | BrokerDescriptors | ConsoleDescriptors
Body: TypeAlias = Callable[[Channel], None]
"""What the child runs with its channel."""


def fork_child(descriptors: Given, close_in_child: list[int], title: str, body: Body) -> None:
    """Fork a process that runs ``body``; the template closes ``descriptors`` afterwards.

    Raises:
        OSError: The system refused one of the two forks.
    """
    mask = system.sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # An author's import may have started threads, which stay in the template.
            warnings.simplefilter("ignore", DeprecationWarning)
            between = system.fork()
            if between == 0:
                _fork_again(descriptors, close_in_child, title, body)
        _pid, status = system.waitpid(between, 0)
    finally:
        system.sigmask(signal.SIG_SETMASK, mask)
    refusal = os.waitstatus_to_exitcode(status)
    if refusal > 0:
        raise OSError(refusal, os.strerror(refusal))
    if refusal < 0:
        raise OSError(errno.EAGAIN, "the process in between was killed")


def _fork_again(descriptors: Given, close_in_child: list[int], title: str, body: Body) -> NoReturn:
    """Run the process in between; its exit status is the errno of a refused fork."""
    status = errno.EAGAIN
    try:
        if system.fork() == 0:
            _child(descriptors, close_in_child, title, body)
        status = 0
    except OSError as error:
        status = error.errno or errno.EAGAIN
    finally:
        os._exit(status)


def _child(descriptors: Given, close_in_child: list[int], title: str, body: Body) -> NoReturn:
    status = 1
    fault = descriptors.fault
    try:
        fds.close_all(close_in_child)
        faulthandler.enable(file=fault, all_threads=True)
        ignore_group_signals()
        system.sigaction(signal.SIGTERM, signal.SIG_DFL)
        system.sigmask(signal.SIG_SETMASK, ())
        channel = Channel(system.socket(fileno=descriptors.channel))
        messages.send(channel, messages.Hello(os.getpid()))
        setproctitle.setproctitle(title)
        body(channel)
        status = 0
    except BaseException as error:  # noqa: BLE001 - the last frame of a process: reported to the supervisor
        # Also SystemExit: nobody asked the process to end.
        system.write(fault, describe_failure(error).encode("utf-8", "backslashreplace"))
    finally:
        _end(status)


def _end(status: int) -> NoReturn:
    """End without the template's exit hooks, but flush the output."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
