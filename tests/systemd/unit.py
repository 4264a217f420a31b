"""The unit mpchat.service in a box, as an operator handles it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from mpchat.testsuite.service import DEADLINE, wait_until
from tests.debian import SOURCE
from tests.docs.pages import ROOT, blocks
from tests.systemd.box import Box

COMMAND = "/opt/mpchat/.venv/bin/mpchat"
STATIC_CONFIG = "/etc/mpchat/static_config.yaml"
DYNAMIC_CONFIG = "/etc/mpchat/dynamic_config_fallback.json"
CONTROL_SOCKET = "/run/mpchat/control.sock"
_DROP_INS = "/etc/systemd/system/mpchat.service.d"


def install(box: Box) -> None:
    """Do what docs/systemd.md tells to do; the unit is then running."""
    page = (ROOT / "docs" / "systemd.md").read_text()
    (steps,) = [block.text for block in blocks(page) if block.language == "sh"]
    box.run("sh", "-euc", f"cd {SOURCE}\n{steps}")


class Unit:
    """Starts, looks at and changes the unit."""

    def __init__(self, box: Box) -> None:
        self._box = box
        self._cursor = ""

    def reset(self) -> None:
        """Have it run as it was installed, and read the journal from here on."""
        box = self._box
        box.run("systemctl", "stop", "mpchat", check=False)
        box.run("rm", "-rf", _DROP_INS)
        for file in (STATIC_CONFIG, DYNAMIC_CONFIG):
            box.path(file).write_text((ROOT / Path(file).name).read_text())
        box.run("systemctl", "daemon-reload")
        box.run("systemctl", "reset-failed", "mpchat", check=False)
        self.systemctl("start")
        shown = box.run("journalctl", "--lines=0", "--show-cursor").stdout
        self._cursor = shown.rpartition("-- cursor: ")[2].strip()

    def systemctl(self, verb: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run ``systemctl VERB mpchat``."""
        return self._box.run("systemctl", verb, "mpchat", check=check)

    def drop_in(self, *lines: str) -> None:
        """Change settings of the unit; they hold from its next start on."""
        folder = self._box.path(_DROP_INS)
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text("[Service]\n" + "".join(f"{line}\n" for line in lines))
        self._box.run("systemctl", "daemon-reload")

    def show(self, name: str) -> str:
        """Return one of the unit's properties."""
        return self._box.run("systemctl", "show", "--value", f"-p{name}", "mpchat").stdout.strip()

    def wait_for(self, name: str, value: str, deadline: float = DEADLINE) -> None:
        """Wait until a property has a value."""
        wait_until(lambda: self.show(name) == value, f"{name}={value}", deadline)

    def journal(self) -> str:
        """Return what the service and systemd have said of the unit since ``reset``."""
        after = f"--after-cursor={self._cursor}"
        return self._box.run(
            "journalctl", "--unit=mpchat", "--output=cat", "--all", "--no-pager", after
        ).stdout

    def wait_for_journal(self, text: str) -> None:
        """Wait until something has been said."""
        wait_until(lambda: text in self.journal(), f"{text!r} in the journal")

    def status(self) -> dict[str, Any]:
        """Return what ``mpchat status`` tells, asked as root; its exit code has to fit."""
        command = (COMMAND, "status", "--json", "--socket", CONTROL_SOCKET)
        result = self._box.run(*command, check=False)
        if not result.stdout:
            raise RuntimeError(result.stderr)
        status: dict[str, Any] = json.loads(result.stdout)
        assert result.returncode == (not any(w["state"] == "ready" for w in status["workers"]))
        return status

    def workers(self) -> list[int]:
        """Return the pids of workers that serve, as numbered in the box."""
        return [w["pid"] for w in self.status()["workers"] if w["state"] == "ready"]

    def signal(self, name: str, pid: int | str) -> None:
        """Signal a process of the box."""
        self._box.run("sh", "-c", f"kill -s {name} {pid}")
