"""The body of a request: each field only when its condition holds."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mpchat.config_service.options import ConfigServicePlan
from mpchat.config_service.request import body
from tests.unit.config_service.test_options import client, updater


def asked(
    updated_since: str | None = None,
    *,
    ids: tuple[str, ...] = ("B", "A"),
    stage: str | None = None,
    load_only_my_values: bool = True,
    get_configs_overrides_for_service: bool = True,
) -> Any:
    plan = ConfigServicePlan(
        client(get_configs_overrides_for_service=get_configs_overrides_for_service),
        updater(load_only_my_values=load_only_my_values),
        ids,
        stage,
    )
    return json.loads(body(plan, updated_since))


def test_a_full_update_asks_for_what_the_service_knows() -> None:
    assert asked() == {"ids": ["A", "B"], "service": "chat"}


def test_an_incremental_one_repeats_the_time_as_it_came() -> None:
    times = "2021-06-29T14:15:31.173239295+0000"
    assert asked(times)["updated_since"] == times
    assert asked("")["updated_since"] == ""


@pytest.mark.covers("UpdaterOptions.load-only-my-values")
def test_all_values_are_asked_for_without_names() -> None:
    assert asked(load_only_my_values=False) == {"service": "chat"}
    assert asked(ids=()) == {"service": "chat"}


@pytest.mark.covers("ClientOptions.get-configs-overrides-for-service")
def test_a_stage_stands_in_the_place_of_the_service() -> None:
    found = asked(ids=(), stage="testing", get_configs_overrides_for_service=False)
    assert found == {"stage_name": "testing"}
