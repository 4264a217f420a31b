"""What the console makes of what the supervisor tells it."""

from __future__ import annotations

import logging
import os
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.console.process import Console
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel


@pytest.mark.parametrize("given", ["nothing", "what cannot be read"])
async def test_a_console_that_cannot_have_the_dynamic_config_ends(
    given: str, caplog: pytest.LogCaptureFixture
) -> None:
    near, far = Channel.pair()
    anything: Any = SimpleNamespace()
    known: Any = SimpleNamespace(config=None)
    console = Console(Channel(far), anything, known, 1.0, None)
    folder = os.open("/", os.O_RDONLY)
    descriptors = [] if given == "nothing" else [folder, os.dup(folder)]
    messages.send(near, messages.DynamicConfig(1, 0.0, {}), descriptors)
    with caplog.at_level(logging.ERROR, "mpchat.console"):
        console._read()
    assert console._end.is_set()
    assert known.config is None
    assert "the dynamic config cannot be read: " in caplog.text
    os.close(folder)
    near.close()
    far.close()
