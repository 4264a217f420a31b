"""Two hosts and what is between them, on one machine: network namespaces, where we may make them.

Rules. A namespace has its own addresses and ports, and a virtual cable to a switch. That is no wire: a
real network adds its own time. Without root all is on the loopback interface.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

PLACES = ("one", "two", "between")
_SWITCH = 254


@dataclass(frozen=True)
class Place:
    """Where processes run: the words before their command, and the address that they listen on."""

    words: tuple[str, ...]
    address: str


@dataclass(frozen=True)
class Network:
    """Both hosts, and the place of the server that they share.

    Attributes:
        what: How it is made, for the table.
    """

    what: str
    one: Place
    two: Place
    between: Place


@contextmanager
def network() -> Iterator[Network]:
    """Make it, and remove it at the end of the ``with`` block."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        here = Place((), "127.0.0.1")
        yield Network("loopback", here, here, here)
        return
    with ExitStack() as stack:
        # A name of an interface has at most 15 characters.
        switch = f"mpb{os.getpid()}"
        _ip("link", "add", switch, "type", "bridge")
        stack.callback(_ip, "link", "delete", switch)
        # Another run has another net.
        net = f"10.231.{os.getpid() % 256}"
        _ip("address", "add", f"{net}.{_SWITCH}/24", "dev", switch)
        _ip("link", "set", switch, "up")
        one, two, between = (
            stack.enter_context(_place(switch, name, f"{net}.{number}"))
            for number, name in enumerate(PLACES, 1)
        )
        yield Network("network namespaces", one, two, between)


@contextmanager
def _place(switch: str, name: str, address: str) -> Iterator[Place]:
    space, cable = f"{switch}-{name}", f"{switch}-{name[0]}"
    _ip("netns", "add", space)
    try:
        inside = ["-netns", space]
        _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        _ip("link", "set", cable, "master", switch, "up")
        _ip(*inside, "address", "add", f"{address}/24", "dev", "eth0")
        _ip(*inside, "link", "set", "eth0", "up")
        _ip(*inside, "link", "set", "lo", "up")
        yield Place(("ip", "netns", "exec", space), address)
    finally:
        _ip("netns", "delete", space)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)
