"""userver's tutorial "Writing your own configs server": other services take their values from it."""

from __future__ import annotations

from typing import Any, Literal

from configs import ConfigFile, Configs
from pydantic import AwareDatetime, BaseModel

import mpchat
from mpchat import Components, Context, HttpRequest


class Wanted(BaseModel):
    """What is asked for: some variables or all, if any has changed since a time."""

    ids: list[str] | None = None
    updated_since: AwareDatetime | Literal[""] | None = None
    service: str = "<unknown>"


class ConfigDistributor(mpchat.HttpHandlerJsonBase):
    """Answers as mpchat's and userver's `dynamic-config-client` expect it."""

    name = "handler-config"
    body_type = Wanted | None
    needs_content_type = False

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._file = components.find(ConfigFile)

    async def handle_request_json(
        self, request: HttpRequest, body: Wanted | None, context: Context
    ) -> dict[str, Any]:
        configs = await self._file.read()
        return {
            "configs": self._select(configs, body or Wanted()),
            "updated_at": f"{configs.updated_at:%Y-%m-%dT%H:%M:%S.%f%z}",
        }

    def _select(self, configs: Configs, wanted: Wanted) -> dict[str, Any]:
        if wanted.updated_since and wanted.updated_since >= configs.updated_at:
            return {}
        self.logger.debug("sending values to %s", wanted.service)
        if wanted.ids is None:
            return configs.values
        missing = [name for name in wanted.ids if name not in configs.values]
        if missing:
            self.logger.info("%s asks for unknown %s", wanted.service, ", ".join(missing[:100]))
        return {name: configs.values[name] for name in wanted.ids if name in configs.values}


if __name__ == "__main__":
    components = mpchat.minimal_server_component_list()
    mpchat.daemon_main(components.append(ConfigFile).append(ConfigDistributor))
