"""A minimal Debian in memory, in which commands run by chroot.

Rules. It lies on a mount that only this process and its children see, so nothing is left, however a run
ends. What is missing (root, a tool, a package mirror) is an error with its name, never a skip.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

SOURCE = "/usr/src/mpchat"
"""The files of the checkout, in the box."""
WHEELS = "/usr/src/wheels"
"""Whatever pip needs: no package comes from the network."""
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": WHEELS,
}
_CLONE_NEWNS = 0x00020000


class Debian:
    """A Debian of its own, from an empty folder to its end."""

    def __init__(self, folder: Path, tools: Iterable[str] = ()) -> None:
        """Check that it can be made here; ``folder`` is empty, ``tools`` are needed, too."""
        if os.geteuid() != 0:
            raise RuntimeError("a Debian of its own needs root")
        wanted = ("mmdebstrap", "apt-get", *tools)
        missing = [tool for tool in wanted if shutil.which(tool) is None]
        if missing:
            raise RuntimeError(f"not installed: {', '.join(missing)} (.ci/run installs them)")
        self.root = folder / "root"
        self.root.mkdir()

    def make(self, packages: Iterable[str], release: str | None = None) -> None:
        """Fill it with packages of a release; by default that of this machine."""
        libc("unshare", _CLONE_NEWNS)
        run(["mount", "--make-rprivate", "/"])
        run(["mount", "-t", "tmpfs", "tmpfs", str(self.root)])
        ours = _debian_release()
        run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=essential",
                # A mirror may be a copy of another day, whose time is up.
                '--aptopt=Acquire::Check-Valid-Until "false"',
                f"--include={','.join(packages)}",
                release or ours,
                str(self.root),
                _mirror(ours),
            ]
        )

    def add_wheels(self, python: str, *requirements: str) -> None:
        """Put in the wheels that pip would fetch for this version of Python."""
        run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--only-binary=:all:"),
                *("--python-version", python, "--dest", f"{self.root}{WHEELS}", *requirements),
            ]
        )

    def chroot(self, script: str) -> str:
        """Run a shell script in it, and return what it prints."""
        return run(["chroot", str(self.root), "sh", "-euc", f"cd /usr/src\n{script}"], ENVIRONMENT)

    def show(self, script: str) -> int:
        """Run one with this machine's processes and devices in view, and return its exit code.

        What it prints goes to where we print.
        """
        for folder in ("proc", "sys", "dev"):
            if not os.path.ismount(self.root / folder):
                run(["mount", "--rbind", f"/{folder}", str(self.root / folder)])
        command = ["chroot", str(self.root), "sh", "-euc", f"cd /usr/src\n{script}"]
        return subprocess.call(command, env=ENVIRONMENT, stdin=subprocess.DEVNULL)

    def path(self, path: str) -> Path:
        """Return where a file of its disk lies outside."""
        return self.root / path.lstrip("/")

    def close(self) -> None:
        """Take away what was made."""
        if os.path.ismount(self.root):
            run(["umount", "--lazy", "--recursive", str(self.root)])


def run(command: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Run a command and return what it prints.

    Raises:
        RuntimeError: It failed; says the rest.
    """
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    if result.returncode != 0:
        said = f"{result.stdout}{result.stderr}"
        raise RuntimeError(f"{shlex.join(command)}: exit code {result.returncode}\n{said}")
    return result.stdout


def libc(function: str, *arguments: int) -> None:
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
    found = run([*command.split(), "$(RELEASE) $(REPO_URI)"])
    for line in found.splitlines():
        name, _space, address = line.partition(" ")
        if name == release:
            return address
    raise RuntimeError(f"apt knows no mirror of {release}")
