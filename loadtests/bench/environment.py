"""What a benchmark runs on: the machine, and the interpreter that runs this file.

As a program it prints what it found as JSON: so a benchmark learns of an interpreter that is not its own.
"""

from __future__ import annotations

import json
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path
from typing import Any

from mpchat import FORM

PACKAGES = (
    "uvloop",
    "mpchat",
    "picows",
    "aiofastnet",
    "aiohttp",
    "websockets",
    "uvicorn",
    "httptools",
    "gunicorn",
    "granian",
    "channels",
    "channels-redis",
    "python-socketio",
)


def cpu() -> str:
    """Return the model of this machine's processor."""
    return next(
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )


def redis() -> dict[str, str] | None:
    """Return the version of the redis-server that is installed here, by its name; None without one."""
    program = shutil.which("redis-server")
    if program is None:
        return None
    told = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    found = re.search(r"v=(\S+)", told)
    return {"Redis": found[1] if found else "?"}


def build(version: str, arguments: str, compiler: str, debian: str | None) -> str:
    """Say what an interpreter is and how it was built.

    Args:
        version: Its version.
        arguments: What its ``configure`` was called with.
        compiler: What compiled it.
        debian: The release of Debian that it comes with. Debian's builds have PGO and LTO and keep
            that out of what ``sysconfig`` knows (see the package's changelog: #934771, #934812).
    """
    optimized = debian is not None or "--enable-optimizations" in arguments
    lto = debian is not None or "--with-lto" in arguments
    origin = f" of {debian}" if debian else ""
    pgo = "with PGO" if optimized else "without PGO"
    return f"CPython {version}{origin} {pgo}{' and LTO' if lto else ''}, {compiler}"


def _debian() -> str | None:
    if sys.base_prefix != "/usr" or not Path("/etc/debian_version").exists():
        return None
    told = platform.freedesktop_os_release()
    return f"{told['NAME'].removesuffix(' GNU/Linux')} {told.get('VERSION_ID', 'sid')}"


def found_here() -> dict[str, Any]:
    """Return what this interpreter is, the packages that it has, and the form of its mpchat."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    return {
        "python": build(
            platform.python_version(), arguments, platform.python_compiler(), _debian()
        ),
        "mpchat": "compiled" if FORM.compiled else "interpreted",
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }


def found(python: str) -> dict[str, Any]:
    """Return the same of another interpreter."""
    asked = subprocess.run([python, __file__], check=True, capture_output=True, text=True)
    answer: dict[str, Any] = json.loads(asked.stdout)
    return answer


if __name__ == "__main__":
    print(json.dumps(found_here()))
