"""Editions: what a template has loaded, the limits that follow from it, and the way back.

Rules. Workers are started from the current edition. While a restart moves slots to it, the previous
edition is kept whole, so a restart that fails goes back in one step. Only this file changes an edition.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mpchat.ipc import messages
from mpchat.linux import descriptors as fds


@dataclass(frozen=True)
class Generation:
    """A validated dynamic config with the certificates of its time; the number is never used twice."""

    number: int
    memfd: int
    """The dynamic config, sealed"""
    certificates: int
    """The certificates of the listeners and their keys, sealed"""
    shown: list[dict[str, Any]]
    """What operators may know of them"""
    since: float
    """When it was loaded, seconds since 1970"""


@dataclass(frozen=True)
class Loaded:
    """A template's answer once it has loaded code and static config."""

    plan: messages.Plan
    static_config: int
    """A memfd with the files of the static config as the template has read them"""
    memfd: int
    """The dynamic config as the template has validated it"""
    certificates: int
    """The memfd of the certificates of the listeners"""
    folder: str
    """The folder that the code was loaded from"""


@dataclass
class Edition:
    """Code and static config as the start or one restart has loaded them."""

    number: int
    """1 for the service's first; never used twice"""
    plan: messages.Plan
    static_config: int
    """A memfd from which a template that replaces a dead one reads the static config"""
    folder: str
    """Where that template is started"""
    generation: Generation
    """The newest dynamic config that this edition has validated"""
    drain_limit: float
    """Seconds that the generation gives workers to drain their connections"""

    def release(self) -> None:
        """Close the memfds."""
        fds.close_all((self.static_config, self.generation.memfd, self.generation.certificates))


class Editions:
    """The current edition and, while slots move to it, the previous one.

    ``stop_grace``: seconds that a worker has beyond its drain before it is killed. ``wall_clock`` returns
    seconds since 1970.
    """

    def __init__(
        self, stop_grace: float, first: Loaded, wall_clock: Callable[[], float] = time.time
    ) -> None:
        self._stop_grace = stop_grace
        self._wall_clock = wall_clock
        self._kept: list[Edition] = []
        self._editions = 0
        self._generations = 0
        self.promote(first)

    @property
    def current(self) -> Edition:
        """The edition that workers are started from."""
        return self._kept[-1]

    @property
    def settled(self) -> Edition:
        """The edition that stays if the restart that is under way fails; else the current one."""
        return self._kept[0]

    @property
    def is_moving(self) -> bool:
        """Whether a previous edition is kept because slots still move."""
        return len(self._kept) > 1

    @property
    def next_edition(self) -> int:
        """Number that the next edition will have."""
        return self._editions + 1

    @property
    def generation(self) -> int:
        """Number of the dynamic config in use."""
        return self.current.generation.number

    # For the policy

    @property
    def edition(self) -> int:
        """Number of the current edition."""
        return self.current.number

    @property
    def stop_limit(self) -> float:
        """Seconds that a worker has to end; while slots move, the longer limit of both editions."""
        return max(edition.drain_limit for edition in self._kept) + self._stop_grace

    @property
    def max_lifetime(self) -> float | None:
        """Seconds after which a worker is replaced; None: never."""
        return self.current.plan.max_lifetime

    # Changes

    def promote(self, loaded: Loaded) -> None:
        """Make this the current edition; the last one stays for ``revert`` until ``settle``."""
        self._editions = self.next_edition
        self._kept.append(
            Edition(
                self._editions,
                loaded.plan,
                loaded.static_config,
                loaded.folder,
                self._number(loaded.memfd, loaded.certificates, loaded.plan.certificates),
                loaded.plan.stop_limit,
            )
        )

    def revert(self) -> None:
        """Go back to the previous edition."""
        self._kept.pop().release()

    def settle(self) -> None:
        """Let the previous edition go: every slot has moved."""
        self._kept.pop(0).release()

    def renew_generation(
        self, memfd: int, certificates: int, shown: list[dict[str, Any]], drain_limit: float
    ) -> None:
        """Give the current edition a newer dynamic config, and newer certificates."""
        current = self.current
        older, current.generation = current.generation, self._number(memfd, certificates, shown)
        current.drain_limit = drain_limit
        fds.close_all((older.memfd, older.certificates))

    def _number(self, memfd: int, certificates: int, shown: list[dict[str, Any]]) -> Generation:
        self._generations += 1
        return Generation(self._generations, memfd, certificates, shown, self._wall_clock())


def refusal(old: messages.Plan, new: messages.Plan) -> str:
    """Return why a restart cannot replace one plan by another, or nothing."""
    for what in ("address", "port", "unix_socket", "unix_socket_permissions"):
        if new.listener[what] != old.listener[what]:
            name = f"the listener's {what.replace('_', '-')}"
            return _changed(name, old.listener[what], new.listener[what])
    for what in ("address", "port", "unix_socket", "unix_socket_permissions"):
        values = [plan.console[what] if plan.console is not None else None for plan in (old, new)]
        if values[0] != values[1]:
            return _changed(f"listener-monitor's {what.replace('_', '-')}", *values)
    if new.control_socket != old.control_socket:
        return _changed("control-socket", old.control_socket, new.control_socket)
    return ""


def _changed(what: str, old: object, new: object) -> str:
    shown = ["none" if value is None else str(value) for value in (old, new)]
    return f"{what} has changed from {shown[0]} to {shown[1]}: restart the service itself for that"
