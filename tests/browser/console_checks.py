"""The live page in Debian's chromium, while the service is treated badly: part of `make browser-test`."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from websockets.sync.client import connect

from mpchat.testsuite.service import wait_until
from tests.browser.chat import PATIENCE, chromium
from tests.browser.console import TOKEN, LivePage, WatchedChat, operator
from tests.kit.certificates import DAY, Certificates
from tests.kit.raw import handshake

ELSEWHERE = "evil.test"
SIZES = ((360, 740), (800, 1000), (1280, 900))


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedChat]:
    chat = WatchedChat(tmp_path_factory.mktemp("watched"), token=TOKEN)
    with closing(chat.service):
        chat.service.wait_ready()
        yield chat
        print(chat.service.stderr())


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium(f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1") as browser:
        yield browser


@pytest.fixture(scope="module")
def context(browser: Browser, chat: WatchedChat) -> Iterator[BrowserContext]:
    context = operator(browser, chat.console)
    yield context
    context.close()


@pytest.fixture(scope="module")
def live(context: BrowserContext, chat: WatchedChat) -> Iterator[LivePage]:
    """One page for all tests: it comes through everything that they do to the service."""
    live = LivePage(context, chat.console)
    live.expect_link("live")
    yield live
    live.close()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_it_shows_the_service_and_asks_nobody_else(live: LivePage, chat: WatchedChat) -> None:
    status = chat.control.status()
    expect(live.page.locator("#address")).to_have_text(status["address"])
    expect(live.page.locator("#facts")).to_contain_text(f"pid {status['pid']}")
    for worker in status["workers"]:
        live.expect_cell(str(worker["slot"]), "state", "ready")
        expect(live.row(str(worker["slot"]))).to_contain_text(f"pid {worker['pid']}")
    expect(live.page.get_by_role("row", name="console, pid")).to_contain_text("ready")
    live.expect_event("INFO", "ready: ws://")
    netloc = urlsplit(chat.console).netloc
    assert {urlsplit(url).netloc for url in live.asked if not url.startswith("data:")} == {netloc}
    assert any(url.endswith("/live") for url in live.asked)


def test_a_wrong_token_is_not_let_in(browser: Browser, chat: WatchedChat) -> None:
    page = browser.new_context().new_page()
    page.goto(chat.console)
    page.get_by_label("Token").fill("a guess, long enough")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("That is not this console's token.")
    answer = page.evaluate("fetch('/live').then((answer) => answer.status)")
    assert answer == 401
    page.context.close()


def test_connections_and_messages_are_counted(live: LivePage, chat: WatchedChat) -> None:
    with ExitStack() as clients:
        for number in range(3):
            url = f"ws://127.0.0.1:{chat.service.port}/rooms/counted?name=bob{number}"
            bob = clients.enter_context(connect(url))
        expect(live.page.locator("#numbers .card").first.locator(".value")).to_have_text("3")
        bob.send("hello")
        room = live.page.locator("#rooms tbody tr").filter(has_text="counted")
        expect(room.locator("td").first).to_have_text("3")
    expect(live.page.locator("#numbers .card").first.locator(".value")).to_have_text("0")


def test_a_rooms_name_is_a_text(live: LivePage, chat: WatchedChat) -> None:
    name = "<img src=x onerror=alert(1)>"
    quoted = "%3Cimg%20src=x%20onerror=alert(1)%3E"
    with connect(f"ws://127.0.0.1:{chat.service.port}/rooms/{quoted}?name=eve"):
        expect(live.page.get_by_role("rowheader", name=name)).to_be_visible()
        assert live.page.locator("img").count() == 0


def test_a_killed_worker_is_seen(live: LivePage, chat: WatchedChat) -> None:
    before = chat.control.workers()[1]
    # Nobody forks another one meanwhile, so that the page has time to show that.
    with stopped(chat.service.pids("template")[0]):
        chat.kill(before["pid"])
        live.expect_cell("1", "state", "starting")
        expect(live.row("1")).to_contain_text("no process")
        live.expect_event("ERROR", f"pid {before['pid']}: killed by SIGKILL")
    live.expect_cell("1", "state", "ready")
    live.expect_cell("1", "restarts", str(before["restarts"] + 1))
    after = chat.control.workers()[1]["pid"]
    expect(live.row("1")).to_contain_text(f"pid {after}")
    live.expect_event("INFO", f"is ready, pid {after}")


def test_a_worker_that_stands_still_is_seen(live: LivePage, chat: WatchedChat) -> None:
    with stopped(chat.control.workers()[0]["pid"]):
        live.expect_cell("0", "state", "silent")
    live.expect_cell("0", "state", "ready")


def test_a_reload_with_a_mistake_is_seen_until_the_next_success(
    live: LivePage, chat: WatchedChat
) -> None:
    before = chat.control.status()["generation"]
    mistake = '{\n  "MPCHAT_DRAIN": {"window_ms": -1}\n}'
    chat.dynamic_config.write_text(mistake)
    os.kill(chat.service.process.pid, signal.SIGHUP)
    problem = live.page.locator("#problems .problem")
    expect(problem).to_contain_text(f"the last reload failed: dynamic config {before} stays")
    expect(problem).to_contain_text(f"{chat.dynamic_config.name}:2:")
    live.expect_event("ERROR", f"{chat.dynamic_config.name}:2:")
    chat.dynamic_config.write_text("{}")
    os.kill(chat.service.process.pid, signal.SIGHUP)
    expect(problem).to_have_count(0)
    expect(live.page.locator("#facts")).to_contain_text(f"generation {before + 1}")
    live.expect_cell("0", "generation", str(before + 1))
    live.expect_event("INFO", f"generation {before + 1} is applied in 2 workers")


def test_a_restart_that_fails_and_one_that_does_not_are_seen(
    live: LivePage, chat: WatchedChat
) -> None:
    before = {worker["pid"] for worker in chat.control.workers()}
    path = chat.folder / "chat.yaml"
    good = path.read_text()
    path.write_text(good.replace("worker_threads: 2", "worker_threads: two"))
    os.kill(chat.service.process.pid, signal.SIGUSR2)
    problem = live.page.locator("#problems .problem")
    expect(problem).to_contain_text("the last restart failed")
    expect(problem).to_contain_text("chat.yaml:")
    assert before == chat.control.ready()
    path.write_text(good)
    # A client that does not answer to a Close frame keeps its worker waiting.
    with socket.create_connection(("127.0.0.1", chat.service.port)) as silent:
        silent.sendall(handshake("/rooms/restarted?name=silent"))
        assert b" 101 " in silent.recv(1000)
        chat.control.restart()
        leaving = live.page.locator("#workers tr.second")
        expect(leaving.locator('[data-cell="state"]')).to_contain_text("1 left")
        expect(live.page.locator("#activity")).to_have_text("1 worker draining 1 connection")
        live.expect_event("INFO", "restarted")
    expect(leaving).to_have_count(0)
    expect(live.page.locator("#activity")).to_have_text("")
    expect(problem).to_have_count(0)
    after = [worker["pid"] for worker in chat.control.workers()]
    assert not before & set(after)
    assert [text.partition(",")[0] for text in live.pids()] == [f"pid {pid}" for pid in after]


def test_a_console_that_does_not_answer_is_seen(live: LivePage, chat: WatchedChat) -> None:
    with stopped(chat.service.pids("console")[0]):
        live.expect_link("no connection since")
        expect(live.page.locator("body")).to_have_class("lost")
    live.expect_link("live")


def test_a_killed_console_is_found_again(live: LivePage, chat: WatchedChat) -> None:
    before = chat.service.pids("console")[0]
    chat.kill(before)
    wait_until(lambda: chat.service.pids("console") not in ([], [before]), "another", PATIENCE)
    row = live.page.locator("#processes tbody tr").filter(has_text="console")
    after = chat.service.pids("console")[0]
    expect(row.get_by_role("rowheader")).to_have_text(f"console, pid {after}")
    live.expect_link("live")
    # What had happened before is not lost with it.
    live.expect_event("INFO", "ready: ws://")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_into_any_window(browser: Browser, chat: WatchedChat, scheme: Any) -> None:
    context = operator(browser, chat.console, color_scheme=scheme)
    live = LivePage(context, chat.console)
    live.expect_link("live")
    expect(live.page.locator("#workers tbody tr")).to_have_count(2)
    for width, height in SIZES:
        live.page.set_viewport_size({"width": width, "height": height})
        live.page.screenshot(path=chat.folder / f"{scheme}-{width}.png")
        assert live.overflow() <= 0, width
    dark = live.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    live.page.get_by_label("Theme").select_option("light" if scheme == "dark" else "dark")
    other = live.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert dark != other
    live.close()
    context.close()


# What a page of another origin may try; each answers what it has got to know.
ATTEMPTS = {
    "fetch": "fetch(`${console}/`, {credentials: 'include'}).then((a) => a.text(), () => null)",
    "blind fetch": "fetch(`${console}/`, {mode: 'no-cors', credentials: 'include'})"
    ".then((a) => a.text(), () => null)",
    "live as fetch": "fetch(`${console}/live`, {credentials: 'include'})"
    ".then((a) => a.text(), () => null)",
    "WebSocket": """new Promise((done) => {
        const socket = new WebSocket(`${console.replace("http", "ws")}/live`);
        socket.onmessage = ({data}) => done(data);
        socket.onclose = () => done(null);
    })""",
    "image": """new Promise((done) => {
        const image = new Image();
        image.onload = () => done(String(image.width));
        image.onerror = () => done(null);
        image.src = `${console}/`;
    })""",
}


@pytest.mark.parametrize("host", ["127.0.0.1", ELSEWHERE])
def test_a_page_of_another_origin_learns_nothing(
    context: BrowserContext, chat: WatchedChat, host: str
) -> None:
    """The same host with another port, or another host; the browser has the operator's cookie."""
    page = context.new_page()
    asked: list[str] = []
    seen: list[int] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    page.on("response", lambda a: seen.append(a.status) if chat.console in a.url else None)
    # A page of the service that has no policy of its own.
    page.goto(f"http://{host}:{chat.service.port}/no/such/page")
    for name, attempt in ATTEMPTS.items():
        del asked[:]
        assert not page.evaluate(f"(console) => {attempt}", chat.console), name
        assert [urlsplit(url).netloc for url in asked] == [urlsplit(chat.console).netloc], name
    # The browser does not tell of an answer that it has kept from the page.
    assert set(seen) <= {403}
    page.close()


def test_a_name_that_leads_here_is_refused(context: BrowserContext, chat: WatchedChat) -> None:
    page: Page = context.new_page()
    answer = page.goto(f"http://{ELSEWHERE}:{urlsplit(chat.console).port}/")
    assert answer is not None
    assert answer.status == 421
    page.close()


def test_over_tls_somebody_logs_in_and_sees_that_a_certificate_expires(
    browser: Browser, tmp_path: Path, certificates: Certificates
) -> None:
    pair = certificates.issue(ends=3.5 * DAY)
    chat = WatchedChat(tmp_path, token=TOKEN, tls=pair.options)
    with closing(chat.service):
        chat.service.wait_ready()
        assert chat.console.startswith("https://")
        context = operator(browser, chat.console, ignore_https_errors=True)
        (cookie,) = context.cookies()
        assert (cookie["secure"], cookie["httpOnly"]) == (True, True)
        live = LivePage(context, chat.console)
        live.expect_link("live")
        box = live.page.locator("#problems article")
        expect(box).to_contain_text("The certificate of listener-monitor expires in 3 d 11 h")
        expect(box).to_contain_text(f"{pair.cert}")
        assert any(url.startswith("wss://") for url in live.asked)
        live.close()
        context.close()
