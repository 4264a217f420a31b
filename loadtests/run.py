"""``make loadtest``: the real service, locust headless against it, the table, and a verdict.

Exits 0 only if requests were made, none failed, and the service ended with 0.
"""

from __future__ import annotations

import argparse
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 30
ROOMS = """
        rooms: {}
        room-handler:
            path: /rooms/{room}
"""


def main() -> int:
    """Run the load test as the options say."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=300)
    parser.add_argument("--rate", type=int, default=100, help="users started per second")
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--host", help="a service that runs already, ws://…; else one is started")
    parser.add_argument("scenarios", nargs="*", help="user classes; all by default")
    options = parser.parse_args()
    if options.host:
        return run_locust(options.host, options)
    with tempfile.TemporaryDirectory() as folder:
        service = start_service(Path(folder))
        try:
            failed = run_locust(address_of(service), options)
        finally:
            service.send_signal(signal.SIGTERM)
            left_with = service.wait(60)
        if left_with != 0:
            print(f"the service left with exit code {left_with}", file=sys.stderr)
        return failed or left_with


def start_service(folder: Path) -> subprocess.Popen[str]:
    """Start the top-level config, and rooms, on a free port."""
    text = (ROOT / "static_config.yaml").read_text() + ROOMS
    text, ports = re.subn(r"port: \d+", "port: 0", text, count=1)
    text = re.sub(r"level: debug", "level: warning", text, count=1)
    if not ports:
        raise SystemExit("static_config.yaml names no port")
    (folder / "static_config.yaml").write_text(text)
    shutil.copy(ROOT / "dynamic_config_fallback.json", folder)
    command = [sys.executable, "-m", "mpchat", "serve", "-c", str(folder / "static_config.yaml")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def address_of(service: subprocess.Popen[str]) -> str:
    """Wait for the ready line and return the address in it."""
    assert service.stdout is not None
    if not select.select([service.stdout], [], [], READY_SECONDS)[0]:
        raise SystemExit(f"the service was not ready within {READY_SECONDS} s")
    line = service.stdout.readline()
    print(line, end="", flush=True)
    found = re.search(r"ws://\S+?(?=,)", line)
    if found is None:
        raise SystemExit("the service did not print its address")
    return found[0]


def run_locust(address: str, options: argparse.Namespace) -> int:
    """Run locust; its exit code is 1 if a request failed, and ours if none was made."""
    command = [sys.executable, "-m", "locust", "-f", str(ROOT / "loadtests" / "locustfile.py")]
    command += ["--headless", "--host", address, "--only-summary", "--stop-timeout", "10"]
    command += ["--users", str(options.users), "--spawn-rate", str(options.rate)]
    command += ["--run-time", f"{options.seconds}s", *options.scenarios]
    result = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(result.stdout)
    total = re.search(r"Aggregated\s+(\d+)", result.stdout)
    if total is None or int(total[1]) == 0:
        print("no request was made", file=sys.stderr)
        return 1
    return result.returncode


if __name__ == "__main__":
    sys.exit(main())
