"""The last words of workers. A cause that ends many of them leaves one traceback in the log."""

from __future__ import annotations


class LastWords:
    """Knows what the last worker said when it crashed.

    Attributes:
        latest: The last words that any worker had.
    """

    def __init__(self, limit: float) -> None:
        """Log the same words again after ``limit`` seconds, for whoever reads only the end of a log."""
        self.latest = ""
        self._limit = limit
        self._pid = 0
        self._logged_at = 0.0

    def to_log(self, pid: int, words: str, now: float) -> str:
        """Return what the log says behind the line about the end of process ``pid``."""
        if not words:
            return ""
        if words == self.latest and now - self._logged_at < self._limit:
            return f", last words as those of pid {self._pid}"
        self.latest, self._pid, self._logged_at = words, pid, now
        return f"\n{words}"
