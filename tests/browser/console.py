"""The console of the example chat, as an operator sees it in Debian's chromium."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect

from mpchat.testsuite.service import wait_until
from tests.browser.chat import PATIENCE, Chat

TOKEN = "only operators know this"


class WatchedChat(Chat):
    """The example chat with a console, and a dynamic config of a test's own."""

    def __init__(self, folder: Path, **server: Any) -> None:
        """``server`` has more options of the console's listener."""
        self.dynamic_config = folder / "dynamic_config.json"
        self.dynamic_config.write_text("{}")
        super().__init__(
            folder,
            {
                "server": {"listener-monitor": {"port": 0, **server}},
                "dynamic-config-fallbacks": {"fallback-path": str(self.dynamic_config)},
            },
        )

    @property
    def console(self) -> str:
        """Where the console is, without a path."""

        def address() -> str:
            console = self.control.status()["console"]
            ready = console is not None and console["state"] == "ready"
            return str(console["address"]).rstrip("/") if ready else ""

        return wait_until(address, "a console", PATIENCE)


class LivePage:
    """The live page in a tab.

    Attributes:
        problems: What the browser says is wrong with the page, but for connections that it has lost.
        asked: The addresses that the page has asked for anything.
    """

    def __init__(self, context: BrowserContext, address: str) -> None:
        self.page: Page = context.new_page()
        self.problems: list[str] = []
        self.asked: list[str] = []
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", self._on_message)
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))
        self.page.goto(f"{address}/")

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and "ERR_CONNECTION_REFUSED" not in message.text:
            self.problems.append(message.text)

    def log_in(self, token: str) -> None:
        """Type the token."""
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Log in").click()

    def expect_link(self, text: str) -> None:
        """Wait until the page says so of its connection to the console."""
        expect(self.page.locator("#link")).to_contain_text(text)

    def row(self, key: str) -> Locator:
        """Return the row of a slot's worker: "0", or "0-leaving" for one beside it that still drains."""
        return self.page.locator(f'#workers tr[data-worker="{key}"]')

    def expect_cell(self, key: str, name: str, text: str) -> None:
        """Wait until a worker's cell has this text."""
        cell = self.row(key).locator(f'[data-cell="{name}"] > span')
        expect(cell).to_have_text(text)

    def expect_event(self, level: str, text: str) -> None:
        """Wait until the page has told of this."""
        found = self.page.locator(f"#events li.{level}").filter(has_text=text)
        expect(found.first).to_be_visible()

    def pids(self) -> list[str]:
        """Return what the page says of the processes of workers, slot by slot."""
        found: list[str] = self.page.locator("#workers tbody th small").all_inner_texts()
        return found

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        found: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return found

    def close(self) -> None:
        """Close the tab, which has had no problem."""
        assert self.problems == []
        self.page.close()


def operator(browser: Browser, address: str, **more: Any) -> BrowserContext:
    """Return a window of somebody who has logged in."""
    context = browser.new_context(**more)
    page = LivePage(context, address)
    page.log_in(TOKEN)
    page.expect_link("live")
    page.page.close()
    return context
