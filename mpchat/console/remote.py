"""What the config service says, on its way to the supervisor.

Rules. The supervisor decides: an update is done once it says that the values are in force. What it cannot
be told now has failed, and the next update tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpchat.console.knowledge import Knowledge
from mpchat.dynamic_config import layer
from mpchat.dynamic_config.snapshot import Snapshot, from_bytes
from mpchat.errors import describe_os_error
from mpchat.ipc.control import ControlError
from mpchat.linux import descriptors as fds
from mpchat.linux.memfd import sealed_memfd


class RemoteConfig:
    """The supervisor, as the updater sees it; ``source`` is the address of the config service."""

    def __init__(self, known: Knowledge, source: str) -> None:
        self._known = known
        self._orders = known.orders
        self._source = source

    async def apply(self, values: Mapping[str, Any]) -> str:
        """Have these values put into force; return why they were refused, or nothing."""
        try:
            memfd = sealed_memfd("mpchat-layer", layer.to_bytes(self._source, values))
        except OSError as error:
            return f"the system refuses memory for the values: {describe_os_error(error)}"
        try:
            await self._orders.give("config-service", memfd)
        except ControlError as error:
            return str(error)
        except OSError as error:
            return f"the supervisor cannot be told: {describe_os_error(error)}"
        finally:
            fds.close(memfd)
        return ""

    async def failed(self, text: str) -> None:
        """Say why an update has failed before there were values to apply."""
        said = f"no update from the config service {self._source}: {text}"
        await self._orders.give("config-service-failed", arguments={"text": said})

    async def confirmed(self) -> None:
        """Say that the config service answers, and wants nothing changed."""
        await self._orders.give("config-service-confirmed")

    async def in_force(self) -> Mapping[str, Any]:
        """Return all variables that are in force now, with their defaults."""
        # The supervisor tells of a new config a little later than that it is in force.
        await self._orders.give("dynamic-config")
        config = self._known.config
        assert config is not None, "the answer comes behind the config"
        return Snapshot(config.generation, from_bytes(config.content), self._known.keys).as_json()
