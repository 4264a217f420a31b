"""docs/reliability.md and .json: what was done to the service, what had to hold, and what was measured.

The page is printed from the JSON, in which each run of a torture replaces the one before.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mpchat import __version__
from tests.chaos.torture import FULL, SHORT, Torture

_HEAD = """<!-- Printed by `make chaos`. -->

# Reliability

How operators and accidents treat a running service, and how that affects clients. `make chaos` runs
every torture in full and prints this page; `make test` runs the short forms. During a torture,
{full.rate:g} clients a second connect in the full form and {short.rate:g} in the short one,
{full.live} or {short.live} are connected on average, and each sends numbered messages, three at a
time, to an echo that delays some of its answers. The clients record every answer and every end; the
service records how many messages it had read from each socket before its Close. Rooms have members
instead, ten in each, {full.members} in all or {short.members}. Together they publish {full.said:g}
messages a second or {short.said:g}, come back with their position, and repeat what is not
acknowledged; they record every message they see and every answer. Each torture also runs without a
measure that it tests, and must fail then. On a machine with other work, as shown by the load averages
at the end of the page, clients wait longer: where a bar says {full.patience:g} s, the short form allows
{short.patience:g} s.

| Torture | Bar | Measured | |
| --- | --- | --- | --- |
"""
_TOLD = 3
"""Misses of a bar that are shown in full."""
_WITHOUT = """
## Without the measure

The same with one measure switched off, for as long as it takes to miss the bar.

| Torture | Switched off | The bar is missed |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Result:
    """What came of a torture.

    Attributes:
        numbers: What was measured.
        failures: The bars that were missed.
        missed: Those that were missed without each measure.
        where: When and where it ran.
    """

    name: str
    numbers: Mapping[str, str]
    failures: Sequence[str]
    missed: Mapping[str, Sequence[str]]
    where: str

    @property
    def holds(self) -> bool:
        """Whether the bar holds, and is missed without each measure."""
        return not self.failures and all(self.missed.values())


def here(form: str) -> str:
    """Return date, machine, how busy it was before, versions, and in which form a torture ran."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    machine = f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"
    versions = f"Python {platform.python_version()}, mpchat {__version__}"
    day, load = time.strftime("%Y-%m-%d"), os.getloadavg()[0]
    return f"{day}, {machine}, load average {load:.0f} before, {versions}, {form} form"


def write(path: Path, tortures: Iterable[Torture], results: Iterable[Result]) -> None:
    """Take the results over into the JSON beside the page, and print the page."""
    data = path.with_suffix(".json")
    known = json.loads(data.read_text()) if data.exists() else {}
    known |= {result.name: asdict(result) for result in results}
    data.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    found = {name: Result(**fields) for name, fields in known.items()}
    path.write_text(
        _page([(torture, found[torture.name]) for torture in tortures if torture.name in found])
    )


def _page(rows: Sequence[tuple[Torture, Result]]) -> str:
    text = _HEAD.format(full=FULL, short=SHORT)
    for torture, result in rows:
        numbers = "; ".join(f"{name}: {number}" for name, number in result.numbers.items())
        verdict = _told(result.failures) or "holds"
        text += f"| {torture.what} | {torture.bar} | {numbers} | {verdict} |\n"
    text += _WITHOUT
    for torture, result in rows:
        for measure, failures in result.missed.items():
            told = _told(failures) or "**no**"
            text += f"| {torture.name} | {torture.without[measure]} | {told} |\n"
    places: dict[str, list[str]] = {}
    for torture, result in rows:
        places.setdefault(result.where, []).append(torture.name)
    return text + "".join(f"\n{where}: {', '.join(names)}.\n" for where, names in places.items())


def _told(failures: Sequence[str]) -> str:
    told = [failure.partition("; the first:")[0] for failure in failures[:_TOLD]]
    if len(failures) > _TOLD:
        told.append(f"and {len(failures) - _TOLD} more")
    return "; ".join(told)
