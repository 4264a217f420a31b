"""The dynamic config in force, as operators see it: each variable's value, and where that comes from.

Rules. All of it belongs to one generation. What nothing sets has the default of the code. A reload, a
restart or an update that failed is remembered until the next one of its kind succeeds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mpchat.dynamic_config.keys import Key
from mpchat.dynamic_config.snapshot import from_bytes, origins_from_bytes
from mpchat.ipc.messages import DynamicConfig
from mpchat.linux import descriptors as fds
from mpchat.linux.memfd import read_memfd

DEFAULT = "default"
"""The origin of what nothing sets"""


@dataclass(frozen=True)
class Failure:
    """Why the last reload, restart or update from the config service failed."""

    text: str
    """One reason per line"""
    at: float
    """Seconds since 1970"""


@dataclass(frozen=True)
class ConfigInForce:
    """The dynamic config in force."""

    generation: int
    since: float
    """When it was loaded, seconds since 1970"""
    content: bytes
    """As a generation's memfd has it"""
    reload_failure: Failure | None = None
    restart_failure: Failure | None = None
    update_failure: Failure | None = None

    def describe(self, keys: Iterable[Key[Any]]) -> dict[str, Any]:
        """Return all of it as JSON; ``keys`` are the variables that the service declares."""
        values, origins = from_bytes(self.content), origins_from_bytes(self.content)
        return {
            "generation": self.generation,
            "since": _iso(self.since),
            "reload_error": _describe_failure(self.reload_failure),
            "restart_error": _describe_failure(self.restart_failure),
            "update_error": _describe_failure(self.update_failure),
            "variables": describe(values, origins, keys),
        }


def describe(
    values: Mapping[str, Any], origins: Mapping[str, str], keys: Iterable[Key[Any]]
) -> dict[str, Any]:
    """Return for each variable ``value``, ``origin``, and whether the service declares it."""
    found = {
        key.name: {"value": key.default_json(), "origin": DEFAULT, "declared": True} for key in keys
    }
    for name, value in values.items():
        found[name] = {"value": value, "origin": origins[name], "declared": name in found}
    return dict(sorted(found.items()))


def take(message: DynamicConfig, descriptor: int) -> ConfigInForce:
    """Return what the supervisor tells of the dynamic config; the memfd is closed.

    Raises:
        OSError: The system cannot read it now.
    """
    try:
        content = read_memfd(descriptor)
    finally:
        fds.close(descriptor)
    failures = [_failure(message.failures.get(what)) for what in ("reload", "restart", "update")]
    return ConfigInForce(message.number, message.since, content, *failures)


def _failure(found: dict[str, Any] | None) -> Failure | None:
    return Failure(found["text"], found["at"]) if found else None


def _describe_failure(failure: Failure | None) -> dict[str, str] | None:
    return None if failure is None else {"at": _iso(failure.at), "text": failure.text}


def _iso(at: float) -> str:
    """Return a time as RFC 3339 has it."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
