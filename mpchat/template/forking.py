"""Two forks, so that a child of the template becomes a child of the supervisor.

Rules. The child in between ends at once and the supervisor, their subreaper, adopts the grandchild:
every exit status reaches it. Signals are blocked around the forks, a handler must not run in a half
made process. Nothing after the fork returns to the template's code: the process ends by ``os._exit``,
since the exit hooks of the author's imports belong to the template.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import traceback
import warnings
from collections.abc import Callable

import setproctitle

from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.ipc.messages import ForkRequest
from mpchat.ipc.process import ignore_group_signals

Body = Callable[[ForkRequest, Channel, list[int]], None]
"""What the child runs: the request, its channel, and the descriptors after the first three."""


def fork_child(
    request: ForkRequest, descriptors: list[int], close_in_child: list[int], title: str, body: Body
) -> None:
    """Fork a process that runs ``body``; the template closes ``descriptors`` afterwards.

    Raises:
        OSError: The system refused the first fork.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        with warnings.catch_warnings():
            # An author's import may have started threads: they stay in the template.
            warnings.simplefilter("ignore", DeprecationWarning)
            between = os.fork()
            if between == 0:
                if os.fork() == 0:
                    _child(request, descriptors, close_in_child, title, body)
                os._exit(0)
        os.waitpid(between, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _child(
    request: ForkRequest, descriptors: list[int], close_in_child: list[int], title: str, body: Body
) -> None:
    status = 1
    try:
        for descriptor in close_in_child:
            os.close(descriptor)
        fault = descriptors[2]
        faulthandler.enable(file=fault, all_threads=True)
        ignore_group_signals()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        channel = Channel(socket.socket(fileno=descriptors[0]))
        messages.send(channel, messages.Hello(os.getpid()))
        setproctitle.setproctitle(title)
        try:
            body(request, channel, descriptors)
            status = 0
        except BaseException:  # noqa: BLE001 - the last frame of a process: told to the supervisor
            # SystemExit, too: the process did not end because it was asked to.
            os.write(fault, traceback.format_exc().encode("utf-8", "backslashreplace"))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
