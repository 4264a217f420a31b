"""A background task of the whole service: two never run, and one is soon back when its worker ends."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mpchat.testsuite.service import wait_until
from tests.functional.conftest import Serve
from tests.kit.control import Control

APP = """
import asyncio, fcntl, os
from mpchat import Component, WebsocketHandlerBase, minimal_server_component_list


class Cleaner(Component):
    name = "cleaner"

    def __init__(self, options, components):
        super().__init__(options, components)
        self.slot = components.slot

    async def start(self):
        self.spawn(self.clean, once_per_service=True)

    async def clean(self):
        # A witness of its own: a second one at the same time would not get it.
        with open("witness", "w") as witness, open("runs", "a", buffering=1) as runs:
            try:
                fcntl.flock(witness, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                print("two", file=runs)
                raise
            print("begin", self.slot, os.getpid(), file=runs)
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.1)
                print("end", self.slot, os.getpid(), file=runs)


class Echo(WebsocketHandlerBase):
    name = "websocket-handler"

    async def handle(self, chat, context):
        async for message in chat:
            await chat.send(message)


components = minimal_server_component_list().append(Cleaner).append(Echo)
"""


async def test_never_two_run_and_one_is_soon_back(
    service_tmpdir: Path, serve: Serve, control: Control
) -> None:
    (service_tmpdir / "cleaning.py").write_text(APP)
    runs = service_tmpdir / "runs"
    changes: dict[str, Any] = {"handler-ping": None, "cleaner": {}}

    def begun() -> list[list[str]]:
        lines = runs.read_text().splitlines() if runs.exists() else []
        assert "two" not in lines
        return [line.split() for line in lines if line.startswith("begin")]

    def runs_in(workers: Collection[int]) -> bool:
        return bool(begun()) and int(begun()[-1][2]) in workers

    with serve(changes, "--app", "cleaning:components") as service:
        wait_until(begun, "the first start")
        ((_begin, slot, pid),) = begun()
        assert {row["pid"]: row["slot"] for row in control.workers()}[int(pid)] == int(slot)
        os.kill(int(pid), signal.SIGKILL)
        wait_until(lambda: len(begun()) == 2, "a start elsewhere")
        old = control.ready()
        control.ask("restart", patience=None)
        # It may begin again in old workers before it begins in a new one.
        wait_until(lambda: runs_in(control.ready() - old), "a start in a new worker")
        control.ask("scale", count=1)
        # The order is answered as soon as the others drain.
        wait_until(lambda: len(control.ready()) == 1, "an end of the others")
        (last,) = control.ready()
        wait_until(lambda: runs_in({last}), "a start in the last worker")
        service.stop()
    lines = [line.split() for line in runs.read_text().splitlines()]
    # Each start but the killed one has an end before the next.
    assert [line[0] for line in lines] == ["begin", *["begin", "end"] * (len(begun()) - 1)]
