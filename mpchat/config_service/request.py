"""The body of a request to the config service."""

from __future__ import annotations

import json
from typing import Any

from mpchat.config_service.options import ConfigServicePlan


def body(plan: ConfigServicePlan, updated_since: str | None) -> bytes:
    """Return the JSON object that asks for an update.

    ``updated_since`` is the time of the last answer, as the service wrote it, for an incremental update;
    None asks for a full one.
    """
    fields: dict[str, Any] = {}
    if plan.updater.load_only_my_values and plan.ids:
        fields["ids"] = sorted(plan.ids)
    if updated_since is not None:
        fields["updated_since"] = updated_since
    if plan.stage is not None:
        fields["stage_name"] = plan.stage
    if plan.client.get_configs_overrides_for_service:
        fields["service"] = plan.client.service_name
    return json.dumps(fields).encode()
