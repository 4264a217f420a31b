"""The example chat in Debian's chromium, while its service is treated badly: `make browser-test`.

Not named as tests are, so that `make test` leaves it out: it needs chromium.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest
from playwright.sync_api import Browser, expect
from websockets.sync.client import connect

from mpchat.testsuite.service import wait_until
from tests.browser.chat import PATIENCE, Chat, Tab, chromium, tab
from tests.browser.stalling import StallingProxy

COUNT = 25
"""Messages that each tab says meanwhile."""
PACE = 60
"""Milliseconds between them."""


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    chat = Chat(tmp_path_factory.mktemp("chat"))
    with closing(chat.service):
        chat.service.wait_ready()
        yield chat
        print(chat.service.stderr())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


def two_tabs(browser: Browser, chat: Chat, room: str) -> tuple[Tab, Tab]:
    """Return tabs that are on different workers.

    The worker with fewer connections gets the next one, so a tab that is loaded again may come to the
    same for ever: its page's kept connections are with the other. Connections of others fill it up.
    """
    port = chat.service.port
    ann = tab(browser, port, f"ann {room}", room)
    bob = tab(browser, port, f"bob {room}", room)

    others = ExitStack()

    def are_apart() -> bool:
        workers = chat.workers()
        # A worker that is busy may be left out.
        if workers.keys() >= {ann.name, bob.name} and workers[ann.name] != workers[bob.name]:
            return True
        others.enter_context(connect(f"ws://127.0.0.1:{port}/rooms/others?name=other"))
        bob.page.reload()
        bob.expect_state("connected")
        return False

    with others:
        wait_until(are_apart, "tabs on different workers", PATIENCE)
    return ann, bob


def expect_all(ann: Tab, bob: Tab) -> None:
    """Wait until both have everything, and compare what they show."""
    for one in (ann, bob):
        one.expect_count(2 * COUNT)
    assert ann.texts() == bob.texts()
    assert max(Counter(ann.texts()).values()) == 1
    for prefix in ("ann", "bob"):
        own = [text for text in ann.texts() if text.startswith(prefix)]
        assert own == [f"{prefix}-{number}" for number in range(COUNT)]
    assert ann.problems == bob.problems == []
    for one in (ann, bob):
        one.page.context.close()


def talk(ann: Tab, bob: Tab) -> None:
    """Have both begin to talk, and wait until each has heard of both."""
    ann.say_in_turn("ann", COUNT, PACE)
    bob.say_in_turn("bob", COUNT, PACE)
    for one in (ann, bob):
        expect(one.page.get_by_text("ann-3", exact=True)).to_be_visible()
        expect(one.page.get_by_text("bob-3", exact=True)).to_be_visible()


def test_history_presence_and_rooms(browser: Browser, chat: Chat) -> None:
    ann, bob = two_tabs(browser, chat, "first")
    ann.expect_people(ann.name, bob.name)
    ann.say("one <b>bold</b>")
    bob.say("two")
    for one in (ann, bob):
        one.expect_count(2)
    assert ann.texts() == bob.texts()
    # Who opens the room later sees what was said.
    eve = tab(browser, chat.service.port, "eve", "first")
    eve.expect_count(2)
    assert eve.texts() == ann.texts()
    bob.expect_people(ann.name, bob.name, "eve")
    # In another room nobody hears of it.
    eve.page.get_by_role("link", name="# help").click()
    eve.expect_state("connected")
    eve.expect_count(0)
    eve.say("anybody?")
    eve.expect_count(1)
    # A client that is no page may say anything.
    with connect(f"ws://127.0.0.1:{chat.service.port}/rooms/help?name=bot") as raw:
        raw.send(b"\xff")
    eve.expect_count(2)
    assert eve.texts()[-1] == "(a binary message)"
    ann.expect_people(ann.name, bob.name)
    bob.page.context.close()
    ann.expect_people(ann.name)
    ann.expect_count(2)
    assert ann.problems == eve.problems == []


def test_a_worker_is_killed(browser: Browser, chat: Chat) -> None:
    ann, bob = two_tabs(browser, chat, "killed")
    talk(ann, bob)
    chat.kill(wait_until(lambda: chat.workers().get(ann.name, 0), "worker of ann", PATIENCE))
    expect_all(ann, bob)


def test_a_restart(browser: Browser, chat: Chat) -> None:
    ann, bob = two_tabs(browser, chat, "restarted")
    talk(ann, bob)
    chat.control.restart()
    expect_all(ann, bob)


def test_the_broker_is_killed(browser: Browser, chat: Chat) -> None:
    ann, bob = two_tabs(browser, chat, "unbroken")
    talk(ann, bob)
    chat.kill_broker()
    expect_all(ann, bob)


def test_a_network_is_cut_and_nobody_is_told(browser: Browser, chat: Chat) -> None:
    with StallingProxy(chat.service.port) as proxy:
        ann = tab(browser, chat.service.port, "ann far", "cut")
        bob = tab(browser, proxy.port, "bob far", "cut")
        talk(ann, bob)
        proxy.cut()
        bob.expect_state("reconnecting")
        ann.expect_state("connected")
        ann.expect_people("ann far")
        proxy.mend()
        bob.expect_state("connected")
        ann.expect_people("ann far", "bob far")
        expect_all(ann, bob)
