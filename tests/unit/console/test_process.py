"""What the console makes of what the supervisor tells it."""

from __future__ import annotations

import logging
import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.console.process import Console
from mpchat.dynamic_config.snapshot import to_bytes
from mpchat.ipc import messages
from mpchat.ipc.channel import Channel
from mpchat.linux.memfd import sealed_memfd
from mpchat.tls.material import CLIENTS, OPERATORS, Material, pack


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


async def test_a_console_of_the_edition_before_keeps_its_certificates() -> None:
    near, far = Channel.pair()
    anything: Any = SimpleNamespace()
    logs: Any = SimpleNamespace(levels=SimpleNamespace(force=lambda _levels: None))
    status = SimpleNamespace(certificates=[])
    known: Any = SimpleNamespace(config=None, status=status, logs=logs)
    used: list[Material] = []
    tls: Any = SimpleNamespace(use=used.append)
    console = Console(Channel(far), anything, known, 1.0, tls)
    content = to_bytes({}, {})
    for name in (OPERATORS, CLIENTS):
        memfds = [sealed_memfd("test", content), sealed_memfd("test", pack({name: Material(())}))]
        shown = [{"listener": name}]
        messages.send(near, messages.DynamicConfig(1, time.time(), {}, shown), memfds)
        for memfd in memfds:
            os.close(memfd)
        console._read()
        assert known.status.certificates == shown
    assert used == [Material(())]
    assert not console._end.is_set()
    near.close()
    far.close()
