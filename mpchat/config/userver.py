"""The names that userver knows: its files load unchanged, what we do not have is named in a warning."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

FRAME_OPTIONS = frozenset(
    {
        "coro_pool",
        "event_thread_pool",
        "disable_phdr_cache",
        "disable-phdr-cache",
        "mlock_debug_info",
        "preheat_stacktrace_collector",
        "static_config_validation",
        "userver_experiments",
        "graceful_shutdown_interval",
        "thread_name",
        "os-scheduling",
        "spinning-iterations",
        "task-processor-queue",
        "task-trace",
        "guess-cpu-limit",
    }
)
"""Options beside the components: of components_manager and of a task processor."""


@dataclass(frozen=True)
class UserverNames:
    """What userver calls its components, options and dynamic variables."""

    components: dict[str, frozenset[str]]
    handler_options: frozenset[str]
    variables: frozenset[str]


def load_userver_names() -> UserverNames:
    """Read the data file of the package."""
    text = files("mpchat.config").joinpath("userver_names.json").read_text("utf-8")
    raw = json.loads(text)
    return UserverNames(
        {name: frozenset(options) for name, options in raw["components"].items()},
        frozenset(raw["handler_options"]),
        frozenset(raw["variables"]),
    )
