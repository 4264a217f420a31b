"""How a service differs while its author works on it."""

from __future__ import annotations

from dataclasses import replace

from mpchat.config.settings import DEVELOPMENT
from mpchat.config.types import format_duration
from mpchat.config.yaml_file import Path
from mpchat.worker.service import Service

PATIENCE = 86_400.0
"""Seconds that a worker may stand still, as it does in a debugger."""
_DRAIN = {"lameduck_ms": 0, "window_ms": 0, "deadline_ms": 1000}
"""Clients are closed at once, and a handler that goes on for a second is cancelled."""


def in_development(service: Service) -> Service:
    """Return the service with a log for people on stderr, patience with debuggers, and none with clients.

    What MPCHAT_DRAIN says takes precedence.
    """
    changed: dict[Path, str] = {
        ("server", "worker-hang-timeout"): format_duration(PATIENCE),
        ("logging", "loggers", "default", "file_path"): "@stderr",
        ("logging", "loggers", "default", "format"): "text",
    }
    default = service.logging.loggers["default"]
    readable = default.model_copy(update={"file_path": "@stderr", "format": "text"})
    loggers = {**service.logging.loggers, "default": readable}
    return replace(
        service,
        server=service.server.model_copy(update={"worker_hang_timeout": PATIENCE}),
        logging=service.logging.model_copy(update={"loggers": loggers}),
        drain_defaults=_DRAIN,
        drain_origin=DEVELOPMENT,
        settings=tuple(
            replace(setting, value=changed[setting.path[2:]], origin=DEVELOPMENT)
            if setting.path[2:] in changed
            else setting
            for setting in service.settings
        ),
    )
