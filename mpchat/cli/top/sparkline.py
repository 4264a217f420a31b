"""Numbers over time in a few characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-=+*#@"


def buckets(
    samples: Iterable[tuple[float, float]], now: float, seconds: float, count: int
) -> list[float | None]:
    """Return the largest value within each of ``count`` parts of the last ``seconds``, oldest first.

    Args:
        samples: Times and values.
        now: The end of the last part.
        seconds: The length of all parts.
        count: The number of parts; one without samples is None.
    """
    found: list[float | None] = [None] * count
    for at, value in samples:
        index = count - 1 - int((now - at) * count / seconds)
        if 0 <= index < count and at <= now:
            largest = found[index]
            found[index] = value if largest is None else max(largest, value)
    return found


def sparkline(values: Sequence[float | None], most: float, levels: str = BLOCKS) -> str:
    """Return one character for each value, the last level for ``most``; a space for None."""
    return "".join(" " if value is None else _level(value, most, levels) for value in values)


def _level(value: float, most: float, levels: str) -> str:
    if most <= 0 or value <= 0:
        return levels[0]
    # Only nothing at all has the lowest level.
    return levels[min(len(levels) - 1, 1 + int(value / most * (len(levels) - 1)))]
