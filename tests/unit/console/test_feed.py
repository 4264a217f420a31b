"""What pages are told: a picture, then each second; who gets no more."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientSession, WSMsgType, web
from aiohttp.test_utils import TestServer

from mpchat.console.knowledge import Knowledge
from mpchat.console.page.feed import MAX_VIEWERS, Feed, Pace
from mpchat.dynamic_config.in_force import ConfigInForce, Failure
from mpchat.ipc.control import ControlError
from mpchat.ipc.messages import Event, OrderDone
from mpchat.ipc.reports import packets
from mpchat.logs.setup import DirectLogs
from mpchat.scoreboard.broker import BROKER_STATES
from mpchat.scoreboard.counters import Counters
from mpchat.scoreboard.scoreboard import WORKER_STATES, Scoreboard
from mpchat.scoreboard.status import ConsolePlace, Status
from tests.kit.waiting import eventually

DEADLINE = 10.0


class Orders:
    """Answers the order ``rooms`` as a broker does, or refuses it."""

    def __init__(self) -> None:
        self.rooms: list[dict[str, Any]] | None = None
        self.asked: list[dict[str, Any] | None] = []

    async def give(
        self, verb: str, *descriptors: int, arguments: dict[str, Any] | None = None
    ) -> OrderDone:
        assert verb == "rooms"
        self.asked.append(arguments)
        if self.rooms is None:
            raise ControlError("there is no broker")
        with socket.socket(fileno=os.dup(descriptors[0])) as answers:
            for packet in packets(self.rooms):
                answers.send(packet)
        return OrderDone(1, 1)


class Console:
    """What a console knows of a service of one worker, and its feed; seconds pass when a test says so."""

    def __init__(self) -> None:
        self.board = Scoreboard.create()
        self.board.set_service("slots", 1)
        self.board.set_slot(0, "wanted", 1)
        self.board.set_slot(0, "state_0", WORKER_STATES.index("ready"))
        self.board.set_slot(0, "pid_0", os.getpid())
        self.counters = Counters()
        self.row = self.board.row(0, 0)
        self.row.set("pid", os.getpid())
        self.orders = Orders()
        status = Status("1", self.board, "ws://here", "main", 1, 15.0, ConsolePlace())
        self.known = Knowledge(status, self.board, self.orders, DirectLogs([]), "main")
        self.now = 1000.0
        self.flow = 0.0
        self.feed = Feed(self.known, Pace(0.01, 0.01, 0.01), self.clock, lambda: 1.5e9 + self.now)

    def clock(self) -> float:
        self.now += self.flow
        return self.now

    def pass_second(self, received: int = 0) -> None:
        self.counters.traffic_of("handler").messages_received += received
        self.row.publish(self.counters)
        self.now += 1.0
        self.feed.tick()

    def happens(self, text: str) -> None:
        self.known.events.add(Event(1.5e9 + self.now, "INFO", text))


@pytest.fixture
def console() -> Iterator[Console]:
    console = Console()
    yield console
    console.row.release()
    console.board.close()


@asynccontextmanager
async def served(console: Console) -> AsyncIterator[str]:
    """Serve the feed; yields its address."""
    app = web.Application()
    app.router.add_get("/live", console.feed.handle)
    app.on_shutdown.append(console.feed.close)
    async with TestServer(app) as server:
        yield str(server.make_url("/live"))


def texts(news: dict[str, Any]) -> list[str]:
    return [event["text"] for event in news["events"]]


async def test_first_a_picture_then_each_second(console: Console) -> None:
    console.happens("before")
    console.pass_second()
    console.pass_second(30)
    async with served(console) as url, ClientSession() as session, session.ws_connect(url) as page:
        picture = await page.receive_json(timeout=DEADLINE)
        console.happens("meanwhile")
        console.pass_second(12)
        second = await page.receive_json(timeout=DEADLINE)
        console.pass_second()
        third = await page.receive_json(timeout=DEADLINE)
    assert picture["history"]["service"]["messages_received"] == [None, 30]
    assert picture["history"]["slots"][0]["messages_received"] == [None, 30]
    assert picture["at"] == 1.5e9 + 1002
    assert texts(picture) == ["before"]
    assert second["second"]["number"] == picture["history"]["number"] + 1
    assert second["second"]["service"]["messages_received"] == 12
    assert second["status"]["workers"][0]["pid"] == os.getpid()
    assert texts(second) == ["meanwhile"]
    assert texts(third) == []
    assert "history" not in second


async def test_what_happens_before_the_next_second_is_told_once(console: Console) -> None:
    console.pass_second()
    console.happens("just now")
    async with served(console) as url, ClientSession() as session:
        async with session.ws_connect(url) as page:
            assert texts(await page.receive_json(timeout=DEADLINE)) == []
            console.pass_second()
            assert texts(await page.receive_json(timeout=DEADLINE)) == ["just now"]
        async with session.ws_connect(url) as page:
            assert texts(await page.receive_json(timeout=DEADLINE)) == ["just now"]


async def test_failures_of_the_config(console: Console) -> None:
    console.known.config = ConfigInForce(3, 5.0, b"{}", Failure("a.json:1:2: wrong", 9.0), None)
    console.pass_second()
    assert json.loads(console.feed.picture())["config"] == {
        "generation": 3,
        "since": 5.0,
        "reload_failure": {"text": "a.json:1:2: wrong", "at": 9.0},
        "restart_failure": None,
        "update_failure": None,
    }


async def test_a_worker_that_stands_still_has_the_lag_of_its_silence(console: Console) -> None:
    console.row.set("lag_us", 1500)
    console.row.set("beat_at", 1000_900)
    console.pass_second()
    console.pass_second()
    history = json.loads(console.feed.picture())["history"]
    assert history["slots"][0]["loop_lag_ms"] == [1.5, 1100]


async def test_rooms_and_memory_are_asked_only_while_somebody_looks(
    console: Console,
) -> None:
    console.flow = 1.0
    console.board.set_broker("state", BROKER_STATES.index("ready"))
    rooms = [{"room": "a", "members": 2, "messages_per_second": 1.5}]
    running = asyncio.create_task(console.feed.run())
    try:
        async with served(console) as url, ClientSession() as session:
            await eventually(
                lambda: json.loads(console.feed.picture())["history"]["number"] > 5, "6"
            )
            assert console.orders.asked == []
            async with session.ws_connect(url) as page:

                async def wait_until(fits: Callable[[dict[str, Any]], bool]) -> None:
                    async with asyncio.timeout(DEADLINE):
                        while not fits(await page.receive_json()):
                            pass

                # The broker refuses, then answers, then refuses again.
                await eventually(lambda: console.orders.asked, "a question")
                await wait_until(lambda news: news["rooms"] is None)
                console.orders.rooms = rooms
                await wait_until(lambda news: news["rooms"] == rooms)
                console.orders.rooms = None
                await wait_until(lambda news: news["rooms"] is None)
                await wait_until(
                    lambda news: (news["status"]["workers"][0]["pss_bytes"] or 0) > 1_000_000
                )
            assert console.orders.asked[0] == {"by": "messages_per_second", "limit": 10}
    finally:
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


async def test_a_browser_that_takes_nothing_is_cut_off_and_others_are_not(console: Console) -> None:
    console.known.config = ConfigInForce(1, 0.0, b"", Failure("x" * 1_000_000, 0.0), None)
    console.pass_second()
    async with served(console) as url, ClientSession() as session:
        reading = await session.ws_connect(url, max_msg_size=0)
        stuck = socket.create_connection(("127.0.0.1", int(url.split(":")[2].split("/")[0])))
        with stuck:
            stuck.sendall(
                b"GET /live HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            await eventually(lambda: console.feed.viewers == 2, "both pages")
            for _ in range(40):
                await reading.receive(timeout=DEADLINE)
                console.pass_second()
            await eventually(lambda: console.feed.viewers == 1, "the stuck page's end")
        assert (await reading.receive(timeout=DEADLINE)).type is WSMsgType.TEXT
        await reading.close()


async def test_a_page_that_speaks_and_one_too_many_are_closed(console: Console) -> None:
    console.pass_second()
    async with served(console) as url, ClientSession() as session:
        pages = [await session.ws_connect(url) for _ in range(MAX_VIEWERS)]
        await eventually(lambda: console.feed.viewers == MAX_VIEWERS, "all pages")
        async with session.ws_connect(url) as late:
            end = await late.receive(timeout=DEADLINE)
            assert (end.data, end.extra) == (1013, "64 pages are open already")
        await pages[0].receive_json(timeout=DEADLINE)
        await pages[0].send_str("hello")
        assert (await pages[0].receive(timeout=DEADLINE)).type is WSMsgType.CLOSE
        await eventually(lambda: console.feed.viewers == MAX_VIEWERS - 1, "one place")
        async with session.ws_connect(url) as late:
            assert (await late.receive(timeout=DEADLINE)).type is WSMsgType.TEXT
        for page in pages:
            await page.close()


async def test_pages_hear_that_the_console_ends(console: Console) -> None:
    console.pass_second()
    async with ClientSession() as session:
        async with served(console) as url:
            page = await session.ws_connect(url)
            await page.receive_json(timeout=DEADLINE)
            ending = asyncio.create_task(page.receive(timeout=DEADLINE))
        end = await ending
        assert (end.type, end.data) == (WSMsgType.CLOSE, 1001)
        await page.close()
