"""docs/reliability.md: what was done to the service, what had to hold, and what was measured."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpchat import __version__
from tests.chaos.torture import Outcome, Scale, Torture

_HEAD = """<!-- Printed by `make chaos`. -->

# Reliability

What operators and accidents do to a running service, and what clients notice of it. `make chaos` does
all of this in full and prints this page; `make test` does it in short. While a torture goes on,
{rate:g} clients a second connect, {live} are connected on average, and each sends numbered messages,
three at a time, to an echo that thinks over some of them. The clients note every answer and every end;
the service notes how many messages it had read from each socket before its Close. Each torture also
runs without a measure that it is about, and has to fail then.

{date}, {machine}, Python {python}, mpchat {version}.

| Torture | Bar | Measured | |
| --- | --- | --- | --- |
"""
_WITHOUT = """
## Without the measure

| Torture | Switched off | The bar is missed |
| --- | --- | --- |
"""


@dataclass(frozen=True)
class Result:
    """A torture with what came of it; ``missed`` has the failures without each measure."""

    torture: Torture
    outcome: Outcome
    missed: Mapping[str, Sequence[str]]

    @property
    def holds(self) -> bool:
        """Whether the bar holds, and is missed without each measure."""
        return not self.outcome.failures and all(self.missed.values())


def page(results: Sequence[Result], scale: Scale) -> str:
    """Return the page."""
    text = _HEAD.format(
        rate=scale.rate,
        live=scale.live,
        date=time.strftime("%Y-%m-%d"),
        machine=_machine(),
        python=platform.python_version(),
        version=__version__,
    )
    for result in results:
        torture, outcome = result.torture, result.outcome
        numbers = "; ".join(f"{name}: {number}" for name, number in outcome.numbers.items())
        verdict = "; ".join(outcome.failures) or "holds"
        text += f"| {torture.what} | {torture.bar} | {numbers} | {verdict} |\n"
    text += _WITHOUT
    for result in results:
        for measure, failures in result.missed.items():
            words = result.torture.without[measure]
            told = "; ".join(failure.partition("; the first:")[0] for failure in failures)
            text += f"| {result.torture.name} | {words} | {told or '**no**'} |\n"
    return text


def _machine() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"
