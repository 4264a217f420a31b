"""Runs Python with the words behind its own name, beside a Redis of its own; its URL is in REDIS."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

DEADLINE = 10.0


def stop(_number: int, _frame: object) -> None:
    raise SystemExit(0)


def wait_ready(redis: subprocess.Popen[bytes], path: Path) -> None:
    end = time.monotonic() + DEADLINE
    with socket.socket(socket.AF_UNIX) as probe:
        while probe.connect_ex(str(path)) != 0:
            if redis.poll() is not None or time.monotonic() > end:
                raise SystemExit("redis-server did not start")
            time.sleep(0.01)


def main() -> None:
    signal.signal(signal.SIGTERM, stop)
    with ExitStack() as stack:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="redis-"))) / "socket"
        words = ["redis-server", "--port", "0", "--unixsocket", str(path), "--save", ""]
        redis = stack.enter_context(subprocess.Popen([*words, "--loglevel", "warning"]))
        stack.callback(redis.terminate)
        wait_ready(redis, path)
        environment = {**os.environ, "REDIS": f"unix://{path}"}
        server = stack.enter_context(
            subprocess.Popen([sys.executable, *sys.argv[1:]], env=environment)
        )
        stack.callback(server.terminate)
        server.wait()


main()
