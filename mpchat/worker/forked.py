"""Processes that an author's code forks from a worker, such as those of a ProcessPoolExecutor.

Rules. Such a process keeps no descriptor of the service. With a listening socket it would take clients
and never answer; with a client's socket it would hide our close from the client; with the channel it
would hide the worker's end from the supervisor. Signals have their default effect. The process ends with
its worker. Programs started by exec inherit none of our descriptors.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator

import setproctitle

from mpchat.ipc.descent import TITLE, WORKER_VARIABLE
from mpchat.linux.processes import IGNORED_BY_CHILDREN, die_with_parent

_STDERR = 2


def prepare_forks(
    held: Callable[[], Iterable[int]],
    listening: Iterable[socket.socket],
    leave: Callable[[], None],
) -> None:
    """Make every process that is later forked from this one release the service's descriptors.

    ``held`` returns descriptors of the service. Sockets of clients are found by their own address, that
    of one of ``listening``. ``leave`` is called in the new process, which still shares memory with the
    service. Call this once, in the main thread.
    """
    # ``listening`` includes inboxes, which have no address.
    addresses = {_key(sock) for sock in listening if sock.getsockname()}
    worker, main_thread = os.getpid(), threading.get_ident()
    os.environ[WORKER_VARIABLE] = str(worker)
    is_first = True

    def release() -> None:
        nonlocal is_first
        if not is_first:
            # A child's child: its own descriptors may have these numbers.
            return
        is_first = False
        leave()
        signal.set_wakeup_fd(-1)
        for number in (*IGNORED_BY_CHILDREN, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        setproctitle.setproctitle(f"{TITLE}{worker}")
        if faulthandler.is_enabled():
            faulthandler.enable(_STDERR)
        _replace([*held(), *_sockets_at(addresses)])
        if threading.get_ident() == main_thread:
            # The kernel treats the end of the forking thread as the end of the parent. The supervisor
            # ends the children of other threads.
            die_with_parent()
            if os.getppid() != worker:
                os.kill(os.getpid(), signal.SIGKILL)

    os.register_at_fork(after_in_child=release)


def _replace(descriptors: Iterable[int]) -> None:
    """Replace descriptors by /dev/null.

    If they were closed, the process would reuse their numbers, and one of our objects that is collected
    later would close the new descriptor.
    """
    null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in descriptors:
        os.dup2(null, descriptor, inheritable=False)
    os.close(null)


def _sockets_at(addresses: set[object]) -> Iterator[int]:
    for name in os.listdir("/proc/self/fd"):
        try:
            sock = socket.socket(fileno=int(name))
        except OSError:
            # Not a socket, or closed meanwhile, like the descriptor of the listing itself.
            continue
        if _key(sock) in addresses:
            yield sock.fileno()
        sock.detach()


def _key(sock: socket.socket) -> object:
    """Return a key that a listening socket shares with the sockets accepted from it."""
    address = sock.getsockname()
    is_ip = sock.family in {socket.AF_INET, socket.AF_INET6}
    return (sock.family, address[1] if is_ip else address)
