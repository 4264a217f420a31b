"""A minimal Debian with a real systemd of its own, to try the unit where it will run.

Rules. The container dies with this process: nothing is left, however a run ends, but for empty cgroups
after a SIGKILL.
"""

from __future__ import annotations

import errno
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from mpchat.testsuite.service import wait_until
from tests.debian import ENVIRONMENT, SOURCE, Debian, libc

T = TypeVar("T")

_PACKAGES = ("systemd", "systemd-sysv", "python3", "python3-venv", "logrotate")
_TOOLS = ("systemd-nspawn", "unshare", "nsenter", "setpriv")
_CLONE_NEWNET = 0x40000000


class Box(Debian):
    """The container, from an empty folder to its end."""

    def __init__(self, folder: Path) -> None:
        """Check that it can be made here; ``folder`` is empty, and stays so but for a log."""
        super().__init__(folder, _TOOLS)
        self._log = folder / "boot.log"
        self._cgroups: list[Path] = []
        self._outside: subprocess.Popen[bytes] | None = None
        self._init = 0

    def fill(self, checkout: Path, wheel: Path) -> None:
        """Put in systemd, what an operator would unpack, and the wheels that pip would fetch."""
        self.make(_PACKAGES)
        source = self.path(SOURCE)
        shutil.copytree(checkout / "deploy", source / "deploy")
        for file in (*checkout.glob("*.yaml"), *checkout.glob("*.json"), wheel):
            shutil.copy(file, source)
        version = self.chroot("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'")
        self.add_wheels(version.strip(), "-r", str(checkout / "deploy" / "requirements.txt"))

    def boot(self) -> None:
        """Start systemd in the box, and wait until it has started everything."""
        self._cgroups = _make_cgroups(f"mpchat-box-{os.getpid()}")
        # systemd-nspawn looks at /run/systemd, which a machine without systemd does not have.
        script = "".join(f"echo $$ >{shlex.quote(str(g))}/cgroup.procs\n" for g in self._cgroups)
        script += "mount -t tmpfs tmpfs /run\nmkdir /run/systemd\n"
        options = "--boot --register=no --keep-unit --private-network --console=pipe"
        script += f"exec systemd-nspawn --quiet {options} --directory={self.root}\n"
        # systemd-nspawn's end would not be the box's, were it not the first process of a namespace.
        spaces = "setpriv --pdeathsig KILL unshare --mount --pid --mount-proc --fork --kill-child"
        with self._log.open("wb") as log:
            self._outside = subprocess.Popen(
                [*spaces.split(), "sh", "-euc", script],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._init = wait_until(self._find_init, "first process of the box")
        state = wait_until(self._state, "end of the boot")
        if state != "running":
            raise RuntimeError(f"the box is {state}: {self.run('systemctl', '--failed').stdout}")

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command as root in the booted box."""
        assert self._init
        spaces = ("--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd")
        result = subprocess.run(
            ["nsenter", "--target", str(self._init), *spaces, "--", *command],
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        if check and result.returncode != 0:
            said = f"{result.stdout}{result.stderr}"
            raise RuntimeError(f"{shlex.join(command)}: exit code {result.returncode}\n{said}")
        return result

    def in_network(self, function: Callable[[], T]) -> T:
        """Call what makes a socket where the box's ports are; the socket stays there, we do not."""

        def enter() -> T:
            with open(f"/proc/{self._init}/ns/net") as network:
                libc("setns", network.fileno(), _CLONE_NEWNET)
            return function()

        # A thread of its own, since it is the thread that goes.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(enter).result()

    def close(self) -> None:
        """Take away what was made."""
        if self._outside is not None:
            self._outside.kill()
            self._outside.wait()
        for cgroup in self._cgroups:
            wait_until(lambda cgroup=cgroup: _is_removed(cgroup), f"end of {cgroup}")  # type: ignore[misc]
        super().close()

    def _find_init(self) -> int:
        assert self._outside is not None
        if self._outside.poll() is not None:
            raise RuntimeError(f"systemd-nspawn ended:\n{self._log.read_text()}")
        for nspawn in _children(self._outside.pid):
            for child in _children(nspawn):
                # In a namespace of its own it is the first one.
                if _status(child, "NSpid").endswith("\t1"):
                    return child
        return 0

    def _state(self) -> str:
        state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
        return state if state in {"running", "degraded"} else ""


def _make_cgroups(name: str) -> list[Path]:
    """Make a cgroup for the box, so that two at a time do not share one, where systemd will look."""
    hierarchies = [
        line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()
    ]
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    made = []
    for _number, controllers, ours in hierarchies:
        if controllers not in {"", "name=systemd"}:
            continue
        for mount in mounts:
            kind, _source, options = mount[mount.index("-") + 1 :]
            if (kind, controllers) == ("cgroup2", "") or (
                kind == "cgroup" and controllers and controllers in options.split(",")
            ):
                # Of the hierarchy, a part may be mounted only.
                cgroup = Path(mount[4] + ours.removeprefix(mount[3].rstrip("/"))) / name
                cgroup.mkdir()
                made.append(cgroup)
                break
    return made


def _is_removed(cgroup: Path) -> bool:
    try:
        for folder, _folders, _files in os.walk(cgroup, topdown=False):
            os.rmdir(folder)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


def _children(pid: int) -> list[int]:
    try:
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def _status(pid: int, name: str) -> str:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return next((line for line in lines if line.startswith(f"{name}:")), "")
