"""The options of rooms that belong to an engine."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from mpchat.rooms.options import RoomsOptions

STREAM = {"servers": ["nats://127.0.0.1:4222"]}


def test_hosts_share_rooms_by_a_stream() -> None:
    options = RoomsOptions.model_validate({"engine": "nats", "nats": STREAM})
    assert options.nats is not None
    assert options.nats.stream == "ROOMS"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"engine": "nats"}, "expected the section nats, with its servers"),
        ({"nats": STREAM}, "expected `engine: nats` beside the section nats"),
        ({"engine": "redis"}, "'host' or 'nats'"),
        (
            {"engine": "nats", "nats": STREAM, "publish-timeout": "91s"},
            "expected publish-timeout to be 30 s below nats.duplicate-window",
        ),
    ],
)
def test_what_does_not_fit_together(given: dict[str, Any], text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        RoomsOptions.model_validate(given)


def test_the_engine_nats_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpchat.rooms.options.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match="pip install 'mpchat\\[nats\\]'"):
        RoomsOptions.model_validate({"engine": "nats", "nats": STREAM})
