"""Machines in a network of their own: namespaces, and a bridge between them.

Rules. A namespace is held by a thread, and by what runs in it, and has no name: nothing is left, however
a run ends. What a machine starts dies with its thread. A cut link loses packets without a word: nobody's
interface goes down.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from tests.debian import libc, run

T = TypeVar("T")

_CLONE_NEWNET = 0x40000000
_TOOLS = ("ip", "bridge", "setpriv")
_NETWORK = "10.77.0"
_FORWARDING, _DISABLED = "3", "0"
"""States of a bridge's port"""
# Who is not root has no /usr/sbin there.
_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Machine:
    """A namespace; ``address`` is that of its only interface beside lo."""

    def __init__(self, name: str, address: str = "") -> None:
        self.name = name
        self.address = address
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        tid = self.call(_enter)
        self.network = f"/proc/{os.getpid()}/task/{tid}/ns/net"
        self.run("ip", "link", "set", "lo", "up")

    def call(self, function: Callable[[], T]) -> T:
        """Call what makes sockets or processes that are to be there."""
        return self._thread.submit(function).result()

    def run(self, *command: str) -> str:
        """Run a command there and return what it prints.

        Raises:
            RuntimeError: It failed.
        """
        return self.call(lambda: run([*command], {**os.environ, "PATH": _PATH}))

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a process there; ``options`` are Popen's."""
        return self.call(lambda: subprocess.Popen(mortal(command), **options))

    def close(self) -> None:
        """End it, and the processes that it has started."""
        self._thread.shutdown()


def _enter() -> int:
    libc("unshare", _CLONE_NEWNET)
    return threading.get_native_id()


def mortal(command: Sequence[str]) -> list[str]:
    """Return a command that is killed when the thread that started it is no more."""
    return ["setpriv", "--pdeathsig", "KILL", "--", *command]


class Network:
    """Machines that can reach each other; use as a context manager."""

    def __init__(self) -> None:
        if os.geteuid() != 0:
            raise RuntimeError("a network of its own needs root")
        find_tools(*_TOOLS)
        self._bridge = Machine("bridge")
        self._machines: list[Machine] = []
        self._bridge.run("ip", "link", "add", "bridge", "type", "bridge")
        self._bridge.run("ip", "link", "set", "bridge", "up")

    def __enter__(self) -> Network:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def add(self, name: str) -> Machine:
        """Return another machine; ``name`` has at most ten letters."""
        machine = Machine(name, f"{_NETWORK}.{len(self._machines) + 1}")
        self._machines.append(machine)
        bridge = self._bridge
        port = f"to-{name}"
        peer = ("peer", "name", "eth0", "netns", machine.network)
        bridge.run("ip", "link", "add", port, "type", "veth", *peer)
        bridge.run("ip", "link", "set", port, "master", "bridge", "up")
        machine.run("ip", "address", "add", f"{machine.address}/24", "dev", "eth0")
        machine.run("ip", "link", "set", "eth0", "up")
        return machine

    def cut(self, machine: Machine) -> None:
        """Lose all packets to and from it."""
        self._set_port(machine, _DISABLED)

    def mend(self, machine: Machine) -> None:
        """Let packets pass again."""
        self._set_port(machine, _FORWARDING)

    def close(self) -> None:
        """End all machines."""
        for machine in (*self._machines, self._bridge):
            machine.close()

    def _set_port(self, machine: Machine, state: str) -> None:
        self._bridge.run("bridge", "link", "set", "dev", f"to-{machine.name}", "state", state)


def find_tools(*names: str) -> Mapping[str, Path]:
    """Return where commands are.

    Raises:
        RuntimeError: One is missing.
    """
    found = {name: shutil.which(name, path=_PATH) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        raise RuntimeError(f"not installed: {', '.join(missing)} (.ci/run installs them)")
    return {name: Path(path) for name, path in found.items() if path is not None}
