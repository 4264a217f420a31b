"""Numbers, sizes and time spans as people read them.

Rules. What is not known is a dash, so that each cell of a table is one word.
"""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
UNKNOWN = "-"


def word(text: str | None) -> str:
    """Return any text as one word that no terminal obeys; an author may take it from a client."""
    if not text:
        return UNKNOWN
    return phrase(text).replace(" ", "�")


def phrase(text: str) -> str:
    """Return any text as one line that no terminal obeys."""
    return "".join(char if char.isprintable() else "�" for char in text)


def count(things: int, what: str) -> str:
    """Return a number of things: ``1 room``, ``2 rooms``."""
    return f"{things} {what}" if things == 1 else f"{things} {what}s"


def number(value: float | None) -> str:
    """Return a count as it is, a small rate with one decimal."""
    if value is None:
        return UNKNOWN
    return f"{value:.1f}" if isinstance(value, float) and value < 100 else f"{value:.0f}"


def or_dash(value: int | None) -> str:
    """Return a number as it is."""
    return UNKNOWN if value is None else str(value)


def size(octets: float | None) -> str:
    """Return a number of bytes in three digits and a unit."""
    if octets is None:
        return UNKNOWN
    value = float(octets)
    for unit in _UNITS:
        if value < 1000 or unit == _UNITS[-1]:
            return f"{value:.0f}{unit}" if unit == "B" or value >= 100 else f"{value:.1f}{unit}"
        value /= 1024
    return ""


def duration(seconds: float | None) -> str:
    """Return a time span in its two largest units."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02}s"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}h{minutes:02}m"
    days, hours = divmod(hours, 24)
    return f"{days}d{hours:02}h"
