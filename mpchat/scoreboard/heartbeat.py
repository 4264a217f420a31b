"""The heartbeat of a worker's event loop, by which other processes judge the worker."""

from __future__ import annotations

BEAT_SECONDS = 0.25
"""Seconds between two beats of a loop that turns."""
SILENT_SECONDS = 0.5
"""Seconds without a beat after which nobody relies on a worker: it is busy, stuck or stopped."""
