"""Autobahn|Testsuite against a service: its cases are run by a program of their own, its index is read.

Two programs run the same cases: kosoku (Python 3), and the original, ``wstest`` of autobahntestsuite
(Python 2.7). Both write an index of the same form.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ALL = 517
"""Cases in autobahntestsuite since 0.7."""
COMPRESSION = ("12.*", "13.*")
"""The groups of permessage-deflate: 216 cases of up to a thousand messages each."""
FINE = frozenset(("OK", "NON-STRICT", "INFORMATIONAL"))
BEHAVIORS = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED", "FAILED")
_AGENT = "mpchat"


@dataclass(frozen=True)
class Outcome:
    """What became of one case.

    Attributes:
        behavior: The verdict on the messages, one of BEHAVIORS.
        close: The verdict on the end of the connection: OK, INFORMATIONAL, or what was wrong.
        asked, expected, result: The suite's words, without their markup.
    """

    case: str
    behavior: str
    close: str
    milliseconds: int
    asked: str
    expected: str
    result: str

    @property
    def is_fine(self) -> bool:
        """Whether the suite counts it as passed."""
        return self.behavior in FINE and self.close in FINE

    @property
    def order(self) -> tuple[int, ...]:
        """The number of the case, for sorting."""
        return tuple(int(part) for part in self.case.split("."))


def run_kosoku(
    url: str, folder: Path, exclude: Sequence[str], parallel: int, seconds: float
) -> list[Outcome]:
    """Run all cases but ``exclude``, ``parallel`` at a time, and leave the suite's pages in ``folder``.

    Raises:
        TimeoutExpired: They took longer than ``seconds``.
        RuntimeError: The program ended without an index.
    """
    command = [sys.executable, str(Path(__file__).with_name("kosoku_main.py")), url]
    command += ["--outdir", str(folder), "--parallelism", str(parallel)]
    for pattern in exclude:
        command += ["--exclude", pattern]
    return _run(command, folder, seconds)


def run_wstest(
    program: str, url: str, folder: Path, exclude: Sequence[str], seconds: float
) -> list[Outcome]:
    """Do the same with the original.

    Raises:
        TimeoutExpired, RuntimeError: As above.
    """
    folder.mkdir(parents=True, exist_ok=True)
    specification = folder / "specification.json"
    specification.write_text(
        json.dumps(
            {
                "outdir": str(folder),
                "servers": [{"agent": _AGENT, "url": url}],
                "cases": ["*"],
                "exclude-cases": list(exclude),
                "exclude-agent-cases": {},
            }
        )
    )
    command = [program, "--mode", "fuzzingclient", "--spec", str(specification), "--webport", "0"]
    return _run(command, folder, seconds)


def _run(command: Sequence[str], folder: Path, seconds: float) -> list[Outcome]:
    # The exit code tells no more than the verdicts do.
    index = folder / "index.json"
    index.unlink(missing_ok=True)
    result = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=seconds,
        check=False,
    )
    if not index.exists():
        raise RuntimeError(f"{command[0]} ended with {result.returncode}:\n{result.stdout}")
    (cases,) = json.loads(index.read_text()).values()
    return sorted(
        (_outcome(case, verdict, folder) for case, verdict in cases.items()),
        key=lambda outcome: outcome.order,
    )


def _outcome(case: str, verdict: dict[str, Any], folder: Path) -> Outcome:
    page = json.loads((folder / verdict["reportfile"]).read_text())
    close = verdict["behaviorClose"]
    words = page["result"] if close in FINE else f"{page['result']} {page['resultClose']}"
    return Outcome(
        case,
        verdict["behavior"],
        close,
        verdict["duration"],
        _plain(page["description"]),
        _plain(page["expectation"]),
        words,
    )


def _plain(text: str) -> str:
    return text.partition("<br>")[0].replace("<b>", "").replace("</b>", "").strip()


def describe(outcomes: Sequence[Outcome]) -> str:
    """Return a line for each of these cases, for people."""
    return "\n".join(
        f"{outcome.case}: {outcome.behavior}, close {outcome.close}: {outcome.result}"
        for outcome in outcomes
    )
