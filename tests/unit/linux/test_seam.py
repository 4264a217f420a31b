"""Supervisor, template, monitor and a worker's boot call the system through ``mpchat.linux.system`` only.

Each call there can be made to fail, which is worth nothing if another one passes by.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import mpchat
from mpchat.linux import system
from tests.injection.calls import ERRNOS

PACKAGE = Path(mpchat.__file__).parent
FILES = sorted(
    path
    for name in (
        "supervisor",
        "ipc",
        "scoreboard",
        "loglines",
        "linux",
        "monitor",
        "template",
        "worker",
    )
    for path in (PACKAGE / name).glob("*.py")
    if path != PACKAGE / "linux" / "system.py"
)
MODULES = {"os", "socket", "signal", "fcntl", "mmap", "select", "ctypes", "subprocess", "selectors"}
# No system calls, or calls that cannot fail.
PURE = {
    "os.fsdecode",
    "os.fsencode",
    "os.strerror",
    "os.getpid",
    "os.geteuid",
    "os.getuid",
    "os.sched_getaffinity",
    "os.urandom",
    "os.sysconf",
    "os.WIFSIGNALED",
    "os.WTERMSIG",
    "os.waitstatus_to_exitcode",
    "os._exit",
    "os.path.abspath",
    "os.path.basename",
    "os.path.dirname",
    "os.path.isabs",
    "os.path.join",
    "os.path.realpath",
    "os.path.exists",
    "select.poll",
    "signal.Signals",
    "signal.valid_signals",
    "socket.CMSG_SPACE",
}
METHODS = {
    "accept",
    "bind",
    "connect",
    "getsockname",
    "getpeername",
    "getsockopt",
    "listen",
    "poll",
    "recv",
    "recvmsg",
    "send",
    "sendall",
    "sendmsg",
    "sendto",
    "setblocking",
    "setsockopt",
    "settimeout",
    "shutdown",
}
# Their calls are not those of a boot or a loop that must not end.
ELSEWHERE = {
    "ipc/control.py",  # how the verbs ask: a client's side, in the operator's process
    "worker/forked.py",  # runs in processes of an author's code
    "linux/allocator.py",  # the C library's heap, which has no errors
}


def calls(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module in MODULES:
            yield node.lineno, f"from {node.module} import"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func)
            module, _dot, rest = name.partition(".")
            of_module = module in MODULES and name not in PURE
            of_object = module not in {"system", *MODULES} and rest.rpartition(".")[2] in METHODS
            if of_module or of_object:
                yield node.lineno, name


# Methods of other objects that have the same names.
OTHERS = {
    "signature.bind",
    "messages.send",
    "channel.send",
    "self.channel.send",
    "child.send",
    "worker.send",
    "broker.send",
    "template.send",
    "monitor.send",
    "console.send",
    "old.send",
    "helper.send",
    "self._children[action.worker].send",
}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_system_call_can_be_made_to_fail(path: Path) -> None:
    if str(path.relative_to(PACKAGE)) in ELSEWHERE:
        return
    found = [f"{path}:{line}: {name}" for line, name in calls(path) if name not in OTHERS]
    assert found == []


def test_every_call_of_the_seam_has_its_errnos() -> None:
    names = {
        name
        for name, value in vars(system).items()
        if not name.startswith("_")
        and callable(value)
        and name not in {"Any", "Callable"}
        and not isinstance(value, types.ModuleType)
    }
    assert names == set(ERRNOS)


def test_what_passes_by_the_seam_is_found(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("import os\nos.close(1)\nsock.bind(2)\nos.strerror(3)\nsystem.close(4)\n")
    assert list(calls(planted)) == [(2, "os.close"), (3, "sock.bind")]
