"""Numbers of the service and of its console, in the order of their items.

Rules. The supervisor writes them, but for the console's beats and what it counts of the config service.
Times are milliseconds of the system's monotonic clock.
"""

from __future__ import annotations

UPDATES = ("full", "incremental")
"""The kinds of updates from the config service"""
OF_UPDATES = (
    "attempts",
    "no_changes",
    "failures",
    "read",  # variables in answers
    "refused",  # answers with a variable that does not parse
    "begun_at",  # when the last one began
    "succeeded_at",  # when the last one that succeeded began
    "took_ms",  # how long the last one took
)
"""What the console stores of each kind, continuing the counts of earlier consoles"""
NAMES = (
    "slots",  # slots of the pool
    "generation",  # the newest generation of the dynamic config
    "started",  # when the service was ready
    "beat_at",  # when the supervisor last checked its workers
    "pid",  # its own
    "template_pid",  # of the template that forks; 0 while there is none
    "monitor_pid",  # likewise
    "console_state",  # see CONSOLE_STATES
    "console_pid",
    "console_heartbeat",  # beats of its loop
    "console_beat_at",  # time of the last beat
    "activity",  # see ACTIVITIES
    "fork_us",  # what the last fork took the template, microseconds
    "update_failed",  # 1 if the last update from the config service has failed
    "parse_failed",  # 1 if the dynamic config that was read last had mistakes
    # The config service, as the console sees it:
    "documents",  # variables that it has from there
    *(f"{kind}_{name}" for kind in UPDATES for name in OF_UPDATES),
    # The supervisor's counters:
    "faults",  # steps of its own loop that failed and were tried again
    "template_restarts",  # templates started after one had ended by itself
    "monitor_restarts",  # monitors, likewise
    "console_restarts",  # consoles started after the first
    "reloads_applied",  # reloads that every worker has confirmed
    "reloads_unconfirmed",  # reloads that some workers have not confirmed in time
    "reloads_failed",
    "restarts_done",  # restarts of all workers, or of one
    "restarts_failed",
    "parse_errors",  # dynamic configs that were read and had mistakes
)
ACTIVITIES = (None, "reload", "restart", "stop")
"""What the supervisor is doing with the whole service, by number"""
CONSOLE_STATES = ("none", "down", "starting", "ready")
"""Meaning of the console's state, by number; ``none``: no listener is configured for it."""
