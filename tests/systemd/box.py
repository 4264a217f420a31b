"""A minimal Debian with a real systemd of its own, to try the unit where it will run.

Rules. All of it lies in memory, on a mount that only this process and its children see, and the container
dies with this process: nothing is left, however a run ends, but for empty cgroups after a SIGKILL. What
is missing (root, a tool, a package mirror) is an error with its name, never a skip.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from mpchat.testsuite.service import wait_until

T = TypeVar("T")

SOURCE = "/usr/src/mpchat"
"""The files of the checkout, in the box."""
_WHEELS = "/usr/src/wheels"
_PACKAGES = ("systemd", "systemd-sysv", "python3", "python3-venv", "logrotate")
_TOOLS = ("mmdebstrap", "systemd-nspawn", "unshare", "nsenter", "setpriv", "apt-get")
_ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    # The box has no network: whatever pip needs has been put there.
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": _WHEELS,
}
_CLONE_NEWNS = 0x00020000
_CLONE_NEWNET = 0x40000000


class Box:
    """The container, from an empty folder to its end."""

    def __init__(self, folder: Path) -> None:
        """Check that it can be made here; ``folder`` is empty, and stays so but for a log."""
        if os.geteuid() != 0:
            raise RuntimeError("a container with a systemd of its own needs root")
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if missing:
            raise RuntimeError(f"not installed: {', '.join(missing)} (.ci/run installs them)")
        self.root = folder / "root"
        self.root.mkdir()
        self._log = folder / "boot.log"
        self._cgroups: list[Path] = []
        self._outside: subprocess.Popen[bytes] | None = None
        self._init = 0

    def make(self) -> None:
        """Fill the box with the Debian that this machine has."""
        _libc("unshare", _CLONE_NEWNS)
        _run(["mount", "--make-rprivate", "/"])
        _run(["mount", "-t", "tmpfs", "tmpfs", str(self.root)])
        release = _debian_release()
        _run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=essential",
                f"--include={','.join(_PACKAGES)}",
                release,
                str(self.root),
                _mirror(release),
            ]
        )

    def add_source(self, checkout: Path, wheel: Path) -> None:
        """Put in what an operator would unpack, and the wheels that pip would fetch."""
        source = self.root / SOURCE.lstrip("/")
        shutil.copytree(checkout / "deploy", source / "deploy")
        for file in (*checkout.glob("*.yaml"), *checkout.glob("*.json"), wheel):
            shutil.copy(file, source)
        version = self.chroot("python3 -c 'import sys; print(*sys.version_info[:2], sep=\".\")'")
        _run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"),
                *("--python-version", version.strip()),
                *("--dest", f"{self.root}{_WHEELS}", str(wheel)),
            ]
        )

    def chroot(self, script: str) -> str:
        """Run a shell script in the box while it is off, and return what it prints."""
        return _run(
            ["chroot", str(self.root), "sh", "-euc", f"cd /usr/src\n{script}"], _ENVIRONMENT
        )

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
            env=_ENVIRONMENT,
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

    def path(self, path: str) -> Path:
        """Return where a file of the box's disk lies outside (not one of its /run or /tmp)."""
        return self.root / path.lstrip("/")

    def in_network(self, function: Callable[[], T]) -> T:
        """Call what makes a socket where the box's ports are; the socket stays there, we do not."""

        def enter() -> T:
            with open(f"/proc/{self._init}/ns/net") as network:
                _libc("setns", network.fileno(), _CLONE_NEWNET)
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
        if os.path.ismount(self.root):
            _run(["umount", "--lazy", str(self.root)])

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


def _run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    if result.returncode != 0:
        said = f"{result.stdout}{result.stderr}"
        raise RuntimeError(f"{shlex.join(command)}: exit code {result.returncode}\n{said}")
    return result.stdout


def _libc(function: str, *arguments: int) -> None:
    """Call what the os module has from Python 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, function)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), f"{function}: {os.strerror(ctypes.get_errno())}")


def _debian_release() -> str:
    lines = Path("/etc/os-release").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    if values.get("ID") != "debian":
        raise RuntimeError("the box is made from this machine's Debian, and this is none")
    return values["VERSION_CODENAME"]


def _mirror(release: str) -> str:
    """Return the mirror that apt uses here."""
    # Whether or not its lists have been fetched.
    command = "apt-get indextargets --no-release-info --format"
    found = _run([*command.split(), "$(RELEASE) $(REPO_URI)"])
    for line in found.splitlines():
        name, _space, address = line.partition(" ")
        if name == release:
            return address
    raise RuntimeError(f"apt knows no mirror of {release}")


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
