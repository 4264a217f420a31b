"""The values that are served: a JSON file, read again whenever it changes."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from mpchat import Component, Components, ConfigPath, HttpError

TICK = 0.01  # seconds: changes that are closer may have the same time


@dataclass(frozen=True)
class Configs:
    """Values by name, and since when they are so: the same in every worker, and after a restart."""

    updated_at: datetime
    values: dict[str, Any]


class ConfigFile(Component):
    """The file; to change it, move a whole new one into its place."""

    name = "config-file"

    class Options(Component.Options):
        """The section ``config-file``."""

        values_path: Annotated[ConfigPath, Field(alias="values-path", description="The file")]

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._state: tuple[int, int] | None = None
        self._configs = Configs(datetime.min, {})

    async def read(self) -> Configs:
        """Return what is in the file now; a missing or broken one is answered with 500."""
        try:
            if 0 <= time.time() - os.stat(self.options.values_path).st_ctime < TICK:
                await asyncio.sleep(TICK)
            return self._read()
        except (OSError, ValueError) as error:
            raise HttpError(500, f"the file of values cannot be read: {error}") from error

    def _read(self) -> Configs:
        with open(self.options.values_path, "rb") as file:
            found = os.fstat(file.fileno())
            # Only the kernel sets this time, also when a file is moved, so it never runs backwards.
            state = (found.st_ino, found.st_ctime_ns)
            if state != self._state:
                values = TypeAdapter(dict[str, Any]).validate_json(file.read())
                self._configs = Configs(datetime.fromtimestamp(found.st_ctime, UTC), values)
                self._state = state
        return self._configs
