"""Processes that an author's code forks from a worker, such as those of a ProcessPoolExecutor.

Rules. They keep nothing of the service's. With a listening socket they would take clients and never
answer; with a client's socket they would hide our close from it; with the channel they would hide the
worker's end from the supervisor. Signals do to them what they do to any process. They end with their
worker. Programs started by exec inherit none of our descriptors.
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


def prepare_forks(held: Callable[[], Iterable[int]], listening: Iterable[socket.socket]) -> None:
    """Have every process that is forked from this one from now on let go of what is ours.

    ``held`` returns descriptors of the service. Sockets of clients are found by their own address, which
    is that of one of ``listening``. Call this once, in the main thread.
    """
    # Inboxes are among them, without an address, as any socket pair.
    addresses = {_key(sock) for sock in listening if sock.getsockname()}
    worker, main_thread = os.getpid(), threading.get_ident()
    os.environ[WORKER_VARIABLE] = str(worker)
    is_first = True

    def let_go() -> None:
        nonlocal is_first
        if not is_first:
            # A child's child: the numbers may stand for descriptors of its own.
            return
        is_first = False
        signal.set_wakeup_fd(-1)
        for number in (*IGNORED_BY_CHILDREN, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        setproctitle.setproctitle(f"{TITLE}{worker}")
        if faulthandler.is_enabled():
            faulthandler.enable(_STDERR)
        _replace([*held(), *_sockets_at(addresses)])
        if threading.get_ident() == main_thread:
            # The kernel takes the end of the thread that forked for that of the parent. Children of other
            # threads are ended by the supervisor.
            die_with_parent()
            if os.getppid() != worker:
                os.kill(os.getpid(), signal.SIGKILL)

    os.register_at_fork(after_in_child=let_go)


def _replace(descriptors: Iterable[int]) -> None:
    """Put /dev/null in the place of descriptors.

    If they were closed, the process would use their numbers again, and an object of ours that is
    collected later would close them.
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
            # No socket, or closed meanwhile: the descriptor of the listing itself.
            continue
        if _key(sock) in addresses:
            yield sock.fileno()
        sock.detach()


def _key(sock: socket.socket) -> object:
    """Return what a listening socket and those accepted from it have in common."""
    address = sock.getsockname()
    is_ip = sock.family in {socket.AF_INET, socket.AF_INET6}
    return (sock.family, address[1] if is_ip else address)
