"""room.js by itself: when it connects again, with what, and what it gives up.

Chromium runs it, with sockets that are a test's own and a clock that stands still between its steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.chat import EXAMPLE, chromium

ORIGIN = "http://room.test"
HISTORY = {"epoch": "e", "offset": 7, "at": 5, "messages": [{"offset": 7, "data": "old", "at": 5}]}
WELCOME = {"room": "a", "epoch": "e", "offset": 7, "at": 5, "recovered": True, "heartbeat": 25}
SETUP = """
import {Room} from "/room.js";

class Socket {
  constructor(url, protocol) {
    Object.assign(this, {url: url.href, protocol, sent: [], isClosed: false});
    sockets.push(this);
  }
  send(frame) { this.sent.push(JSON.parse(frame)); }
  close() { this.isClosed = true; }
}
globalThis.sockets = [];
globalThis.WebSocket = Socket;
globalThis.Room = Room;
globalThis.told = [];
globalThis.begin = (url, options) => {
  globalThis.room = new Room(url, options);
  for (const name of ["message", "state", "gap", "joined", "left", "members", "presence"]) {
    room.addEventListener(name, ({detail}) => told.push([name, detail]));
  }
};
globalThis.publish = (data) => {
  const stored = (offset) => told.push(["ack", offset]);
  room.publish(data).then(stored, ({reason}) => told.push(["nack", reason]));
};
"""


class RoomPage:
    """A page with a room, whose sockets' other ends are here."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.history: Any = HISTORY
        page.route(f"{ORIGIN}/**", self._answer)
        page.clock.install(time=0)
        page.goto(f"{ORIGIN}/")
        page.add_script_tag(content=SETUP, type="module")
        page.wait_for_function("globalThis.begin !== undefined")
        # The largest of its random waits, so that a test knows it.
        page.evaluate("Math.random = () => 1")
        page.clock.pause_at(1000)

    def _answer(self, route: Route) -> None:
        if route.request.url == f"{ORIGIN}/room.js":
            route.fulfill(path=EXAMPLE / "room.js")
        elif route.request.url.startswith(f"{ORIGIN}/history"):
            if self.history is None:
                route.fulfill(status=503)
            else:
                route.fulfill(json=self.history)
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    def begin(self, url: str = "/rooms/a", **options: Any) -> None:
        self.page.evaluate("([url, options]) => begin(url, options)", [url, options])

    def pass_seconds(self, seconds: float) -> None:
        self.page.clock.run_for(round(seconds * 1000))

    def sockets(self) -> int:
        return int(self.page.evaluate("sockets.length"))

    def wait_for_socket(self, number: int) -> None:
        self.page.wait_for_function(f"sockets.length === {number}")

    @property
    def url(self) -> str:
        return str(self.page.evaluate("sockets.at(-1).url"))

    @property
    def sent(self) -> list[Any]:
        """What the newest socket was given to send."""
        found: list[Any] = self.page.evaluate("sockets.at(-1).sent")
        return found

    def send(self, *frames: Any) -> None:
        """Send frames to the page by the newest socket."""
        for frame in frames:
            self.page.evaluate("(data) => sockets.at(-1).onmessage?.({data})", json.dumps(frame))

    def close(self, code: int) -> None:
        """End the newest socket."""
        self.page.evaluate("(code) => sockets.at(-1).onclose?.({code, reason: ''})", code)

    def publish(self, data: Any) -> None:
        self.page.evaluate("(data) => publish(data)", data)

    def told(self) -> list[Any]:
        """Return what the page was told since this was last asked."""
        found: list[Any] = self.page.evaluate("told.splice(0)")
        return found

    def states(self) -> list[str]:
        return [detail["state"] for name, detail in self.told() if name == "state"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[RoomPage]:
    page = browser.new_page()
    yield RoomPage(page)
    page.close()


def message(offset: int, **more: Any) -> dict[str, Any]:
    return {"offset": offset, "data": offset, "at": offset + 1, **more}


def test_it_asks_with_its_name_and_tells_what_it_hears(page: RoomPage) -> None:
    page.begin("/rooms/a?x=1")
    page.wait_for_socket(1)
    assert page.url.startswith("ws://room.test/rooms/a?x=1&client=")
    assert len(page.url.partition("client=")[2]) == 32
    assert page.page.evaluate("sockets[0].protocol") == "mpchat.room.v1"
    page.send(WELCOME, {}, {"unknown": 1}, message(9, by="ann"), {"joined": {"user": "bob"}})
    page.send({"left": None}, {"members": []}, {"presence": False})
    assert page.told() == [
        ["state", {"state": "open", "code": 0, "reason": ""}],
        ["message", message(9, by="ann")],
        ["joined", {"user": "bob"}],
        ["left", None],
        ["members", []],
        ["presence", False],
    ]


def test_it_comes_back_with_its_position_and_its_name(page: RoomPage) -> None:
    page.begin()
    page.wait_for_socket(1)
    name = page.url.partition("client=")[2]
    page.send(WELCOME, message(9), message(9), message(8))
    assert [detail["offset"] for kind, detail in page.told() if kind == "message"] == [9]
    page.close(1012)
    assert page.states() == ["reconnecting"]
    assert page.sockets() == 1
    page.pass_seconds(1.1)
    page.wait_for_socket(2)
    assert page.url.endswith(f"?client={name}&since=e%3A9%3A10")
    page.send({**WELCOME, "offset": 9}, message(11))
    assert [kind for kind, _detail in page.told()] == ["state", "message"]


def test_it_waits_longer_with_each_failure(page: RoomPage) -> None:
    page.begin()
    for number, seconds in enumerate((1, 2, 4, 8, 16, 30, 30), start=1):
        page.wait_for_socket(number)
        page.close(1006)
        page.pass_seconds(seconds - 0.1)
        assert page.sockets() == number
        page.pass_seconds(0.2)
    page.wait_for_socket(8)
    # After a good while it begins anew.
    page.send(WELCOME)
    page.pass_seconds(11)
    page.close(1006)
    page.pass_seconds(1.1)
    page.wait_for_socket(9)


def test_silence_is_the_end_of_a_connection(page: RoomPage) -> None:
    page.begin()
    page.wait_for_socket(1)
    page.send(WELCOME)
    for _ in range(3):
        page.pass_seconds(34)
        page.send({})
    assert page.states() == ["open"]
    page.pass_seconds(35.1)
    assert page.states() == ["reconnecting"]
    assert page.page.evaluate("sockets[0].isClosed") is True
    page.pass_seconds(1.1)
    page.wait_for_socket(2)
    # One that never begins.
    page.pass_seconds(10.1)
    page.pass_seconds(2.1)
    page.wait_for_socket(3)


def test_what_was_not_answered_is_repeated_in_order(page: RoomPage) -> None:
    page.begin()
    page.publish("early")
    page.wait_for_socket(1)
    assert page.sent == []
    page.send(WELCOME)
    page.publish("one")
    page.publish("two")
    first = [{"publish": "1", "data": "early"}, {"publish": "2", "data": "one"}]
    assert page.sent == [*first, {"publish": "3", "data": "two"}]
    page.send({"ack": "2", "offset": 9})
    page.close(1006)
    page.publish("late")
    page.pass_seconds(1.1)
    page.wait_for_socket(2)
    page.send(WELCOME)
    again = [{"publish": "1", "data": "early"}, {"publish": "3", "data": "two"}]
    assert page.sent == [*again, {"publish": "4", "data": "late"}]
    page.send(
        {"ack": "1", "offset": 8}, {"ack": "3", "offset": 10}, {"nack": "4", "reason": "size"}
    )
    found = [item for item in page.told() if item[0] in {"ack", "nack"}]
    assert found == [["ack", 9], ["ack", 8], ["ack", 10], ["nack", "size"]]


def test_what_is_repeated_comes_before_what_a_listener_publishes(page: RoomPage) -> None:
    page.begin()
    page.publish("one")
    page.page.evaluate(
        "room.addEventListener('state', () => room.state === 'open' && publish('two'))"
    )
    page.wait_for_socket(1)
    page.send(WELCOME)
    assert page.sent == [{"publish": "1", "data": "one"}, {"publish": "2", "data": "two"}]


def test_what_is_not_available_is_repeated_later(page: RoomPage) -> None:
    page.begin()
    page.wait_for_socket(1)
    page.send(WELCOME)
    page.publish(1)
    page.send({"nack": "1", "reason": "unavailable"})
    assert len(page.sent) == 1
    page.pass_seconds(2.1)
    assert page.sent == [{"publish": "1", "data": 1}] * 2
    page.send({"ack": "1", "offset": 9})
    assert page.told()[-1] == ["ack", 9]


def test_what_the_server_may_have_forgotten_is_not_repeated(page: RoomPage) -> None:
    page.begin()
    page.wait_for_socket(1)
    page.send(WELCOME)
    page.publish("sent")
    page.close(1006)
    page.publish("kept")
    page.pass_seconds(1.1)
    page.pass_seconds(110)
    page.send(WELCOME)
    assert page.told()[-1] == ["nack", "lost"]
    assert page.sent == [{"publish": "2", "data": "kept"}]


def test_history_comes_first_and_again_after_a_gap(page: RoomPage) -> None:
    page.begin(history="/history")
    page.wait_for_socket(1)
    assert page.url.endswith("&since=e%3A7%3A5")
    page.send(WELCOME, message(9))
    offsets = [detail["offset"] for kind, detail in page.told() if kind == "message"]
    assert offsets == [7, 9]
    page.close(1006)
    page.pass_seconds(1.1)
    page.wait_for_socket(2)
    page.history = {**HISTORY, "epoch": "f", "offset": 3, "messages": [message(2), message(3)]}
    page.send({**WELCOME, "epoch": "f", "offset": 3, "recovered": False})
    page.pass_seconds(2.1)
    page.wait_for_socket(3)
    assert page.url.endswith("&since=f%3A3%3A5")
    page.send({**WELCOME, "epoch": "f", "offset": 3}, message(4))
    found = [kind for kind, _detail in page.told()]
    assert found == ["state", "gap", "message", "message", "state", "message"]


def test_a_history_that_cannot_be_had_is_asked_for_again(page: RoomPage) -> None:
    page.history = None
    page.begin(history="/history")
    page.page.wait_for_function("room.state === 'reconnecting'")
    page.history = HISTORY
    page.pass_seconds(1.1)
    page.wait_for_socket(1)


def test_without_history_a_gap_is_told(page: RoomPage) -> None:
    page.begin(position={"epoch": "d", "offset": 1, "at": 2})
    page.wait_for_socket(1)
    assert page.url.endswith("&since=d%3A1%3A2")
    page.send({**WELCOME, "recovered": False}, message(9))
    assert [kind for kind, _detail in page.told()] == ["gap", "state", "message"]
    position = page.page.evaluate("room.position")
    assert position == {"epoch": "e", "offset": 9, "at": 10}


def test_a_room_that_is_left_at_a_gap_stays_closed(page: RoomPage) -> None:
    page.begin()
    page.page.evaluate("room.addEventListener('gap', () => room.close())")
    page.wait_for_socket(1)
    page.send({**WELCOME, "recovered": False})
    assert page.states() == ["closed"]
    page.pass_seconds(60)
    assert page.sockets() == 1


@pytest.mark.parametrize("code", [4401, 4403, 4404])
def test_some_ends_are_final(page: RoomPage, code: int) -> None:
    page.begin()
    page.wait_for_socket(1)
    page.publish(1)
    page.close(code)
    page.pass_seconds(60)
    told = page.told()
    assert told == [["state", {"state": "closed", "code": code, "reason": ""}], ["nack", "closed"]]
    page.publish(2)
    assert page.told() == [["nack", "closed"]]
    assert page.sockets() == 1


def test_an_address_may_be_made_for_each_connection(page: RoomPage) -> None:
    page.page.evaluate("let n = 0; begin(async () => `/rooms/a?ticket=${++n}`)")
    page.wait_for_socket(1)
    assert "?ticket=1&client=" in page.url
    page.close(4401)
    page.pass_seconds(1.1)
    page.wait_for_socket(2)
    assert "?ticket=2&client=" in page.url


def test_a_network_that_comes_back_is_tried_at_once(page: RoomPage) -> None:
    page.begin()
    page.wait_for_socket(1)
    page.send(WELCOME)
    page.page.evaluate("dispatchEvent(new Event('offline'))")
    assert page.states() == ["open", "reconnecting"]
    page.page.evaluate("dispatchEvent(new Event('online'))")
    page.wait_for_socket(2)


def test_a_closed_room_is_silent(page: RoomPage) -> None:
    page.begin()
    page.wait_for_socket(1)
    page.send(WELCOME)
    page.page.evaluate("room.close()")
    assert page.states() == ["open", "closed"]
    page.page.evaluate("dispatchEvent(new Event('online'))")
    page.pass_seconds(60)
    assert page.sockets() == 1


def test_it_is_small_enough_to_be_copied() -> None:
    text = (EXAMPLE / "room.js").read_text()
    assert text.count("\n") <= 200
    assert "import " not in text.partition("*/")[2]
    assert max(map(len, text.splitlines())) <= 110
