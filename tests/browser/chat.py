"""The chat of docs/examples/chat, as people see it in Debian's chromium."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mpchat.testsuite.service import Service, wait_until
from tests.docs.pages import ROOT
from tests.kit.control import Control

EXAMPLE = ROOT / "docs" / "examples" / "chat"
PATIENCE = 40.0
"""Seconds for what a page has to show."""
HEARTBEAT = "1s"
"""A page notices a cut after ten seconds more."""


class Chat:
    """The service of the example, on a free port."""

    def __init__(self, folder: Path, sections: dict[str, Any] | None = None) -> None:
        """``sections`` have options of components beside those of the example."""
        self.folder = folder
        config = yaml.safe_load((EXAMPLE / "chat.yaml").read_text())
        manager = config["components_manager"]
        manager["task_processors"]["main-task-processor"]["worker_threads"] = 2
        components = manager["components"]
        components["server"]["listener"]["port"] = 0
        components["server"]["control-socket"] = str(folder / "control.sock")
        components["rooms"] = None
        # The server's side of a cut notices it as late.
        pings = {"ping-interval": "5s", "ping-timeout": "6s"}
        components["room-handler"] |= {"heartbeat": HEARTBEAT, **pings}
        for name, options in (sections or {}).items():
            components[name] = (components.get(name) or {}) | options
        path = folder / "chat.yaml"
        path.write_text(yaml.safe_dump(config))
        command = [sys.executable, str(EXAMPLE / "chat.py"), "--config", str(path)]
        self.service = Service(command, folder)
        self.control = Control(folder / "control.sock")

    def workers(self) -> dict[str, int]:
        """Return the pid of the worker that serves each user."""
        rows = self.control.connections()
        # A connection's name begins with the worker's pid.
        return {row["user"]: int(row["id"].partition("-")[0], 16) for row in rows if row["user"]}

    def kill(self, pid: int) -> None:
        """Kill a process of the service."""
        os.kill(pid, signal.SIGKILL)

    def kill_broker(self) -> None:
        """Kill the broker, and return when there is another one."""
        before = wait_until(lambda: self.service.pids("broker"), "a broker", PATIENCE)
        self.kill(before[0])
        wait_until(
            lambda: self.service.pids("broker") not in ([], before), "another broker", PATIENCE
        )


class Tab:
    """One tab, whose user has entered a name."""

    def __init__(self, page: Page, port: int, name: str, room: str) -> None:
        self.page = page
        self.name = name
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.goto(f"http://127.0.0.1:{port}/#{room}")
        page.get_by_label("Your name").fill(name)
        page.get_by_role("button", name="Enter").click()
        self.expect_state("connected")

    def expect_state(self, state: str) -> None:
        """Wait until the page says that this is its state."""
        expect(self.page.get_by_role("status")).to_have_text(state)

    def expect_people(self, *names: str) -> None:
        """Wait until the page lists these people."""
        expect(self.page.locator("#people li")).to_have_text([*names])

    def say(self, text: str) -> None:
        """Type a message."""
        self.page.get_by_label("Message", exact=True).fill(text)
        self.page.keyboard.press("Enter")

    def say_in_turn(self, prefix: str, count: int, milliseconds: int) -> None:
        """Have the page say PREFIX-0, PREFIX-1, ... while other things happen."""
        self.page.evaluate(
            """async ([prefix, count, milliseconds]) => {
                const form = document.getElementById("say");
                const input = document.getElementById("text");
                let number = 0;
                const timer = setInterval(() => {
                    input.value = `${prefix}-${number}`;
                    form.requestSubmit();
                    if (++number === count) clearInterval(timer);
                }, milliseconds);
            }""",
            [prefix, count, milliseconds],
        )

    def texts(self) -> list[str]:
        """Return the messages that the page shows as arrived, in their order."""
        found: list[str] = self.page.locator("#messages .message .text").all_inner_texts()
        return found

    def expect_count(self, count: int) -> None:
        """Wait until so many messages have arrived, and none of our own is waiting."""
        expect(self.page.locator("#messages .message")).to_have_count(count)
        expect(self.page.locator("#messages .pending, #messages .failed")).to_have_count(0)


@contextmanager
def chromium(*more: str) -> Iterator[Browser]:
    """Run Debian's chromium, with more arguments."""
    path = shutil.which("chromium")
    assert path is not None, "apt-get install chromium"
    # Nothing of the world is asked, and a container has no sandbox within its own.
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", *more]
    with sync_playwright() as playwright:
        expect.set_options(timeout=PATIENCE * 1000)
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


def tab(browser: Browser, port: int, name: str, room: str = "lobby", **more: Any) -> Tab:
    """Open a tab of a browser's window of its own, as somebody else would."""
    return Tab(browser.new_context(**more).new_page(), port, name, room)
