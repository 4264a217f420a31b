"""A running service as a test sees it: the supervisor, its workers, its messages to systemd.

Rules. Every wait has a condition and a deadline. Only processes of the service itself get signals. The
messages to the service manager show when a reload is done.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

DEADLINE = 30.0
"""Seconds that any step may take on a busy machine; only a failure takes longer."""


def wait_until(
    condition: Callable[[], T], what: str, deadline: float = DEADLINE, interval: float = 0.01
) -> T:
    """Return the first truthy result of ``condition``, which is called every ``interval`` seconds.

    Raises:
        TimeoutError: No result was truthy within ``deadline`` seconds.
    """
    end = time.monotonic() + deadline
    while not (result := condition()):
        if time.monotonic() > end:
            raise TimeoutError(f"within {deadline:g} s there was no {what}")
        time.sleep(interval)
    return result


def _children(pid: int) -> dict[int, str]:
    """Return the titles of a process's children by pid, none if it has ended."""
    found = _child_pids(pid)
    # While children end, the kernel may leave out others.
    while found != (found := _child_pids(pid)):
        pass
    return {child: _title(child) for child in found}


def _child_pids(pid: int) -> list[int]:
    tasks = f"/proc/{pid}/task"
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(tasks):
            found += map(int, Path(tasks, task, "children").read_text().split())
    return found


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def _runs(pid: int) -> bool:
    """Whether a thread of a process is neither stopped nor at its end (proc(5), stat: state)."""
    try:
        stats = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        # One has just ended.
        return True
    return any(stat.rpartition(")")[2].split()[0] not in "TtZX" for stat in stats)


def _notify_socket() -> tuple[socket.socket, str]:
    """Return a service manager's socket and the value of NOTIFY_SOCKET for it."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listening.setblocking(False)
    # An abstract address needs no cleanup, and has no limit of 108 bytes for deep folders.
    listening.bind("")
    return listening, "@" + listening.getsockname()[1:].decode()


class ServiceFailed(Exception):
    """The service ended instead of becoming ready; holds its exit code and its stderr."""

    def __init__(self, exit_code: int, stderr: str) -> None:
        super().__init__(f"the service exited with code {exit_code}:\n{stderr}")
        self.exit_code = exit_code
        self.stderr = stderr


class Service:
    """One service, from its start to its stop."""

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._notify, address = _notify_socket()
        self.notifications: list[dict[str, str]] = []
        self.stderr_path = folder / "stderr.log"
        self._stdout_path = folder / "stdout.log"
        with self.stderr_path.open("wb") as stderr, self._stdout_path.open("wb") as stdout:
            self.process: subprocess.Popen[bytes] | ExternalProcess = subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                env={
                    **os.environ,
                    "NOTIFY_SOCKET": address,
                    # An author's prints must be in the file when a test fails.
                    "PYTHONUNBUFFERED": "1",
                    **(environment or {}),
                },
                start_new_session=True,
            )
        self.pid = self.process.pid
        self.ready_line = ""
        self.port = 0

    def wait_ready(self) -> None:
        """Wait for READY=1 and the ready line.

        Raises:
            ServiceFailed: The service ended before.
        """
        self.wait_notified(lambda message: message.get("READY") == "1")
        self.ready_line = wait_until(self.stdout, "ready line").splitlines()[0]
        found = re.search(r"wss?://\S+?:(\d+)/", self.ready_line)
        self.port = int(found[1]) if found else 0

    def wait_notified(
        self, wanted: Callable[[dict[str, str]], bool], after: int = 0
    ) -> dict[str, str]:
        """Wait for a message to the service manager; ``after`` skips that many older ones.

        Raises:
            ServiceFailed: The service ended before it sent such a message.
        """

        def look() -> dict[str, str] | None:
            ended = self.process.poll()
            self._receive()
            for message in self.notifications[after:]:
                if wanted(message):
                    return message
            if ended is not None:
                raise ServiceFailed(ended, self.stderr())
            select.select([self._notify], [], [], 0.05)
            return None

        result = wait_until(look, "such message to the service manager")
        assert result is not None
        return result

    def reload(self) -> str:
        """Send SIGHUP, wait until every worker has dealt with the reload, and return its status line."""
        self._receive()
        after = len(self.notifications)
        self.send_signal(signal.SIGHUP)
        self.wait_notified(lambda message: message.get("RELOADING") == "1", after)
        begun = next(
            index
            for index, message in enumerate(self.notifications)
            if index >= after and message.get("RELOADING") == "1"
        )
        return self.wait_notified(lambda m: m.get("READY") == "1", begun)["STATUS"]

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the supervisor."""
        self.process.send_signal(number)

    def children(self) -> dict[int, str]:
        """Return the pids of the supervisor's living children with their titles."""
        # The template forks twice: for a moment a worker, even a ready one, is a child of the process in
        # between. When that ends the supervisor's children, which are read after it, include the worker.
        found: dict[int, str] = {}
        for template, title in _children(self.pid).items():
            if title.startswith("mpchat: template"):
                for between in _children(template):
                    found |= _children(between)
        found |= _children(self.pid)
        # A process that has ended has no title.
        return {pid: title for pid, title in found.items() if title}

    def pids(self, title: str) -> list[int]:
        """Return the pids of living children whose title begins with ``mpchat: TITLE``."""
        return [pid for pid, text in self.children().items() if text.startswith(f"mpchat: {title}")]

    def freeze(self, pid: int) -> None:
        """Stop one of the service's processes (SIGSTOP), and wait until it stands still."""
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: not _runs(pid), f"standstill of process {pid}")

    def thaw(self, pid: int) -> None:
        """Continue a stopped process (SIGCONT)."""
        os.kill(pid, signal.SIGCONT)

    def stop(self, number: signal.Signals = signal.SIGTERM, deadline: float = DEADLINE) -> int:
        """Ask the service to stop, and return its exit code."""
        if self.process.poll() is None:
            self.send_signal(number)
        return self.process.wait(deadline)

    def stdout(self) -> str:
        """Return what the service has printed."""
        return self._stdout_path.read_text()

    def stderr(self) -> str:
        """Return what the service has written to stderr, its log by default."""
        return self.stderr_path.read_text(errors="replace")

    def close(self) -> None:
        """End the service, whatever its state."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(DEADLINE)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._notify.close()

    def _receive(self) -> None:
        """Receive the service's messages to its service manager."""
        while True:
            try:
                datagram = self._notify.recv(65536)
            except BlockingIOError:
                return
            lines = datagram.decode().splitlines()
            self.notifications.append(dict(line.split("=", 1) for line in lines))


class ExternalProcess:
    """A supervisor that was started by hand: the part of Popen that a Service needs."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return None while it runs, then 0, since only its parent can learn its exit code."""
        if self.returncode is None and not Path(f"/proc/{self.pid}").exists():
            self.returncode = 0
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the process has ended."""
        wait_until(lambda: self.poll() is not None, "end of the service", timeout or DEADLINE)
        return 0

    def send_signal(self, number: int) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask the process to stop."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process."""
        self.send_signal(signal.SIGKILL)


class ExternalService(Service):
    """A service that the user starts by hand, with the printed command.

    Its output goes to the user's terminal, so tests that read its log or its ready line do not pass.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str], port: int
    ) -> None:
        self._notify, address = _notify_socket()
        self.notifications = []
        self.stderr_path = self._stdout_path = Path(os.devnull)
        self.ready_line = ""
        self.port = port
        variables = {"NOTIFY_SOCKET": address, **environment}
        settings = " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items())
        print(
            f"\nStart the service; the test goes on when it is ready:\n\n  cd {folder} && {settings} \\"
        )
        print(f"    {shlex.join(command)}\n", flush=True)
        while not self.notifications:
            select.select([self._notify], [], [])
            self._receive()
        self.pid = int(self.notifications[0]["MAINPID"])
        self.process = ExternalProcess(self.pid)

    def wait_ready(self) -> None:
        """Return at once: the constructor has waited already."""
