"""The command ``mpchat`` in a process of its own, forked from one that has imported everything.

To import everything costs the command half a second, and what it does some milliseconds.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parent.parent.parent
DEADLINE = 60
"""Seconds until the system ends a verb by SIGALRM."""


class Mpchat:
    """Runs ``python -m mpchat``; use as a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.verbs"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.communicate()

    def __call__(
        self, *arguments: str, cwd: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Return how a verb ended, and what it wrote."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with tempfile.TemporaryDirectory(prefix="mpchat-verb-") as folder:
            stdout, stderr = Path(folder, "stdout"), Path(folder, "stderr")
            order = [arguments, str(cwd or Path.cwd()), str(stdout), str(stderr)]
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(
                arguments, code, stdout.read_text(), stderr.read_text()
            )


def main() -> None:
    """Fork a process for each order, and tell its exit code."""
    import mpchat.cli.verbs
    import mpchat.template.loading
    import mpchat.template.printing  # noqa: F401

    for line in sys.stdin:
        arguments, folder, stdout, stderr = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(arguments, folder, stdout, stderr)
            return
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def become(arguments: list[str], folder: str, stdout: str, stderr: str) -> None:
    """Be the command in this folder, from its command line to its end."""
    signal.alarm(DEADLINE)
    os.chdir(folder)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(os.open(stdout, os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(os.open(stderr, os.O_WRONLY | os.O_CREAT), 2)
    sys.argv[1:] = arguments
    sys.orig_argv[1:] = ["-m", "mpchat", *arguments]
    sys.path[0] = folder
    runpy.run_module("mpchat", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
