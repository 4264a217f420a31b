"""What a torture is: a way to treat a service badly, the bar it has to meet, and how hard it is tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path


@dataclass(frozen=True)
class Scale:
    """How hard: the short form for every day, the full one for docs/reliability.md.

    Attributes:
        rate: New connections a second, ``live`` of them open on average.
        opening: A second, where a crowd is gathered first.
        restarts: How many; other tortures do so many ``times`` what they do.
        crowd: Clients that are drained, over ``window`` seconds, judged in so many ``bins``.
        seconds: How long a torture lasts that has no other end.
        hang: The option worker-hang-timeout, seconds.
        patience: Seconds that a handshake may take, whatever happens, a worker may outlast its hang time,
            and the members of a killed one stay listed. The short form has to hold on a machine that now
            and then has no time for a service.
        members: Of rooms, ten in each, and ``said`` messages a second that they publish together.
    """

    rate: float
    live: int
    opening: float
    restarts: int
    times: int
    crowd: int
    window: float
    bins: int
    seconds: float
    hang: float
    patience: float
    members: int
    said: float

    @property
    def traffic(self) -> dict[str, float]:
        """The clients of most tortures."""
        return {
            "rate": self.rate,
            "lifetime": self.live / self.rate,
            "at_once": self.live // 2,
            # Messages cost as much as handshakes, or the machine would have time for nothing else.
            "pause": 0.001 * self.rate / 2,
        }


@dataclass
class Outcome:
    """What was measured, in words for the page, and which bars were missed."""

    numbers: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Torture:
    """One row of the page.

    Attributes:
        name: What `python -m tests.chaos NAME` runs.
        what: What is done; ``bar``: what has to hold.
        run: Takes a folder to work in, the scale, and the name of a measure to switch off, if any.
        without: The measures that it has to miss, in words, by name.
        short: Those of them that are cheap enough for `make test`.
    """

    name: str
    what: str
    bar: str
    run: Callable[[Path, Scale, str], Outcome]
    without: Mapping[str, str]
    short: tuple[str, ...] = ()


SHORT = Scale(
    rate=100,
    live=200,
    opening=400,
    restarts=2,
    times=3,
    crowd=480,
    window=2.4,
    bins=6,
    seconds=3.0,
    hang=2.0,
    patience=3.0,
    members=60,
    said=60,
)
FULL = Scale(
    rate=500,
    live=1000,
    opening=500,
    restarts=100,
    times=60,
    crowd=10_000,
    window=20.0,
    bins=20,
    seconds=60.0,
    hang=5.0,
    patience=1.0,
    members=1000,
    said=300,
)
BRIEF = replace(FULL, restarts=4, times=6, seconds=12.0)
"""The full form, for as long as it takes to miss a bar."""
