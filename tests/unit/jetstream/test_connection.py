"""A connection over its losses: what is sent, what comes, and what everybody is told."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from mpchat.jetstream.errors import ConnectionLost, TooLarge, Unreachable, VersionTooOld
from mpchat.jetstream.messages import Message
from tests.kit.nats import NatsServer
from tests.kit.waiting import eventually
from tests.unit.jetstream.fake import FakeNats, fake_nats
from tests.unit.jetstream.rig import LIMIT, LOGIN, Rig, administrator, connected, on_uvloop, options

QUICK: dict[str, Any] = {"ping_interval": 0.1, "ping_limit": 0.5}
NOWHERE = "nats://127.0.0.1:1"


async def listen(rig: Rig, subject: str = "live.rooms.x") -> list[Message]:
    found: list[Message] = []
    await rig.connection.subscribe(subject, found.append)
    await rig.connection.flush()
    return found


async def test_messages_come_with_the_last_header_of_a_name(server: NatsServer) -> None:
    async with (
        connected(options(server.url, **LOGIN)) as rig,
        administrator(server) as admin,
    ):
        found = await listen(rig)
        # As an author forges it, with the server's own behind it.
        head = b"NATS/1.0\r\nNats-Sequence: 1\r\nNats-Sequence: 7\r\n\r\n"
        line = b"HPUB live.rooms.x %d %d\r\n" % (len(head), len(head) + 2)
        await admin.client._send_command(line + head + b"hi\r\n")
        await admin.client.flush()
        await eventually(lambda: found, "message")
        assert found[0].subject == "live.rooms.x"
        assert found[0].data == b"hi"
        assert found[0].header("Nats-Sequence") == "7"
        assert found[0].header("Other") == ""


async def test_whom_we_are_connected_to(server: NatsServer) -> None:
    rig = Rig(options(server.url, **LOGIN))
    assert (rig.connection.is_up, rig.connection.server, rig.connection.max_payload) == (
        False,
        None,
        0,
    )
    await rig.connection.connect(LIMIT)
    assert rig.connection.is_up
    assert rig.ups == 1
    found = rig.connection.server
    assert found is not None
    assert (found.name, found.url) == ("n1", server.url)
    assert found.version.startswith("2.")
    assert rig.connection.max_payload == 1 << 20
    await rig.connection.close()
    assert not rig.connection.is_up
    assert rig.losses == []
    with pytest.raises(ConnectionLost, match="was closed"):
        await rig.connection.publish("rooms.x")


async def test_a_subscription_ends(server: NatsServer) -> None:
    async with connected(options(server.url, **LOGIN)) as rig:
        first: list[Message] = []
        second = await listen(rig, "mpchat.ctl.ROOMS.a")
        subscription = await rig.connection.subscribe("mpchat.ctl.ROOMS.a", first.append)
        await rig.connection.unsubscribe(subscription)
        await rig.connection.publish("mpchat.ctl.ROOMS.a", b"x")
        await eventually(lambda: second, "message")
        assert first == []


@on_uvloop
async def test_after_a_kill_subscriptions_are_there_before_anybody_is_told(
    server: NatsServer,
) -> None:
    async with connected(options(server.url, **LOGIN)) as rig:
        found = await listen(rig, "mpchat.ctl.ROOMS.a")
        server.kill()
        await eventually(lambda: rig.losses, "loss")
        with pytest.raises(ConnectionLost):
            await rig.connection.publish("mpchat.ctl.ROOMS.a", b"never sent")
        with pytest.raises(ConnectionLost):
            await rig.connection.flush()
        while_down: list[Message] = []
        await rig.connection.subscribe("mpchat.ctl.ROOMS.a", while_down.append)
        ended = await rig.connection.subscribe("mpchat.ctl.ROOMS.b", while_down.append)
        await rig.connection.unsubscribe(ended)
        await asyncio.to_thread(server.start)
        await rig.until_up(2)
        await rig.connection.publish("mpchat.ctl.ROOMS.b", b"to nobody")
        await rig.connection.publish("mpchat.ctl.ROOMS.a", b"x")
        await eventually(lambda: found and while_down, "message")
        assert [message.data for message in found + while_down] == [b"x", b"x"]
        assert len(rig.losses) == 1


@on_uvloop
async def test_a_server_that_stands_still_is_left(server: NatsServer) -> None:
    async with connected(options(server.url, **LOGIN, connect_timeout="1s"), **QUICK) as rig:
        server.stop()
        try:
            # More than the sockets hold: closing in order would wait for the server.
            with contextlib.suppress(ConnectionLost):
                for _ in range(200):
                    await rig.connection.publish("rooms.x", bytes(100_000))
            await eventually(lambda: rig.losses, "loss")
            assert "does not answer" in rig.losses[0]
            assert not rig.connection.is_up
        finally:
            server.go_on()
        await rig.until_up(2)
        await rig.connection.flush()


@on_uvloop
async def test_closing_while_a_server_stands_still(server: NatsServer) -> None:
    rig = Rig(options(server.url, **LOGIN), **QUICK)
    await rig.connection.connect(LIMIT)
    server.stop()
    try:
        for _ in range(200):
            await rig.connection.publish("rooms.x", bytes(100_000))
        async with asyncio.timeout(LIMIT):
            await rig.connection.close()
    finally:
        server.go_on()
    assert rig.losses == []


@on_uvloop
async def test_closing_while_there_is_no_server(server: NatsServer) -> None:
    rig = Rig(options(server.url, **LOGIN))
    await rig.connection.connect(LIMIT)
    server.kill()
    await eventually(lambda: rig.losses, "loss")
    await rig.connection.close()
    await asyncio.to_thread(server.start)
    assert rig.ups == 1


@pytest.mark.parametrize("error", ["Slow Consumer", "User Authentication Expired", "Whatever Else"])
async def test_no_error_of_a_server_ends_the_connection_for_good(error: str) -> None:
    async with fake_nats(FakeNats()) as fake, connected(options(fake.url)) as rig:
        found = await listen(rig)
        fake.say(f"-ERR '{error}'")
        await rig.until_up(2)
        assert error.lower() in rig.losses[0].lower()
        await rig.connection.flush()
        assert found == []


async def test_nonsense_of_a_server_makes_nobody_deaf() -> None:
    # nats-py ends reading with a line in its log; nothing tells but that answers do not come.
    async with fake_nats(FakeNats()) as fake, connected(options(fake.url), **QUICK) as rig:
        fake.say("INFO no JSON")
        await rig.until_up(2)
        assert "does not answer" in rig.losses[0]
        await rig.connection.flush()


async def test_a_message_too_large_is_not_sent(server: NatsServer) -> None:
    async with connected(options(server.url, **LOGIN)) as rig:
        most = rig.connection.max_payload
        headers = {"A": "ü"}
        size = len("NATS/1.0\r\nA: ü\r\n\r\n".encode())
        with pytest.raises(TooLarge, match="max_payload"):
            await rig.connection.publish("rooms.x", bytes(most + 1))
        with pytest.raises(TooLarge):
            await rig.connection.publish("rooms.x", bytes(most - size + 1), headers=headers)
        await rig.connection.publish("rooms.x", bytes(most - size), headers=headers)
        await rig.connection.flush()
        assert rig.connection.is_up
        assert (rig.losses, rig.errors) == ([], [])


async def test_what_the_user_may_not_do_is_told_with_its_subject(server: NatsServer) -> None:
    async with connected(options(server.url, **LOGIN)) as rig:
        found = await rig.connection.subscribe("Secret.Rooms", lambda message: None)
        await rig.connection.publish("Elsewhere.x")
        await rig.connection.flush()
        await eventually(lambda: len(rig.errors) == 2, "errors")
        text = "the user's permissions at NATS lack"
        # nats-py tells it in lower case.
        assert rig.errors == [
            (f"{text} Secret.Rooms", "Secret.Rooms"),
            (f"{text} elsewhere.x", "elsewhere.x"),
        ]
        assert not found.is_allowed
        assert rig.connection.is_up


async def test_messages_that_are_dropped_are_told(server: NatsServer) -> None:
    async with connected(options(server.url, **LOGIN), most_pending=1000) as rig:
        found = await listen(rig, "mpchat.ctl.ROOMS.a")
        for number in range(100):
            await rig.connection.publish("mpchat.ctl.ROOMS.a", bytes([number]) * 300)
        await rig.connection.flush()
        await eventually(lambda: len(found) + len(rig.errors) == 100, "messages and errors")
        assert found
        assert {subject for _text, subject in rig.errors} == {"mpchat.ctl.ROOMS.a"}


async def test_what_a_callback_raises_is_the_loops(server: NatsServer) -> None:
    failures: list[Any] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: failures.append(context["exception"]))

    def fail(message: Message) -> None:
        raise LookupError(message.data)

    async with connected(options(server.url, **LOGIN)) as rig:
        await rig.connection.subscribe("mpchat.ctl.ROOMS.a", fail)
        await rig.connection.publish("mpchat.ctl.ROOMS.a", b"x")
        await eventually(lambda: failures, "exception")
        assert isinstance(failures[0], LookupError)
        assert rig.connection.is_up


async def test_giving_up_a_flush_leaves_the_connection_as_it_was(server: NatsServer) -> None:
    async with connected(options(server.url, **LOGIN), ping_limit=LIMIT) as rig:
        server.stop()
        try:
            waiting = asyncio.ensure_future(rig.connection.flush())
            for _ in range(10):
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait({waiting})
        finally:
            server.go_on()
        # The answer to a ping that was cancelled would end nats-py's reading.
        await rig.connection.flush()
        assert rig.losses == []


async def test_the_server_has_all_subscriptions_before_anybody_is_told() -> None:
    names = [f"live.rooms.r{number}" for number in range(100)]
    async with fake_nats(FakeNats()) as fake, connected(options(fake.url)) as rig:
        for name in names:
            await rig.connection.subscribe(name, lambda message: None)
        await rig.connection.flush()
        fake.subscribed.clear()
        seen: list[list[str]] = []
        rig.when_up = lambda: seen.append([*fake.subscribed])
        rig.connection.leave("of a test")
        await rig.until_up(2)
        assert seen == [names]


@pytest.mark.covers("JetStreamOptions.servers")
async def test_another_server_is_taken_when_one_is_not_there(server: NatsServer) -> None:
    async with connected(options(servers=[*[NOWHERE] * 3, server.url], **LOGIN)) as rig:
        found = rig.connection.server
        assert found is not None
        assert found.url == server.url


async def test_no_server_is_there() -> None:
    rig = Rig(options(NOWHERE, "nats://127.0.0.1:2"))
    with pytest.raises(Unreachable) as caught:
        await rig.connection.connect(0.3)
    assert "nats://127.0.0.1:1: Connection refused" in str(caught.value)
    assert "nats://127.0.0.1:2: Connection refused" in str(caught.value)
    await rig.connection.close()
    assert (rig.ups, rig.losses) == (0, [])


@pytest.mark.covers("JetStreamOptions.connect-timeout")
async def test_a_server_that_says_nothing_is_given_up_for_another(server: NatsServer) -> None:
    async with fake_nats(FakeNats(hello="")) as silent:
        rig = Rig(options(silent.url, connect_timeout="50ms"))
        with pytest.raises(Unreachable, match="does not answer"):
            await rig.connection.connect(0.5)
        # The other one is not waited for longer than that.
        async with connected(options(silent.url, server.url, **LOGIN, connect_timeout="2s")) as rig:
            assert rig.connection.is_up


@pytest.mark.parametrize("version", ["2.10.26", "2.9.10", "1.4.1", "2.10.26-RC.1", "", "next"])
async def test_an_old_server_is_refused(version: str) -> None:
    async with fake_nats(FakeNats(version)) as fake:
        rig = Rig(options(fake.url))
        with pytest.raises(VersionTooOld, match=r"expected nats-server 2\.11"):
            await rig.connection.connect(LIMIT)
        assert rig.ups == 0


async def test_a_new_server_beside_an_old_one_is_taken() -> None:
    async with (
        fake_nats(FakeNats("2.10.26")) as old,
        fake_nats(FakeNats("3.0.0-beta.1")) as new,
        connected(options(old.url, new.url)) as rig,
    ):
        assert rig.connection.server is not None
        assert rig.connection.server.version == "3.0.0-beta.1"


async def test_a_server_that_has_become_old_is_refused_after_a_loss() -> None:
    async with fake_nats(FakeNats()) as fake, connected(options(fake.url)) as rig:
        fake.version = "2.10.26"
        rig.connection.leave("of a test")
        await eventually(lambda: rig.errors, "error")
        assert rig.losses == ["of a test"]
        assert "2.10.26" in rig.errors[0][0]
        assert not rig.connection.is_up
        with pytest.raises(ConnectionLost, match=r"2\.10\.26"):
            await rig.connection.publish("rooms.x")
        fake.version = "2.11.1"
        await rig.until_up(2)
        assert len(rig.errors) == 1, "it is told once"


async def test_a_loss_is_followed_by_another_server() -> None:
    async with (
        fake_nats(FakeNats()) as one,
        fake_nats(FakeNats()) as two,
        connected(options(one.url, two.url)) as rig,
    ):
        urls = []
        for times in range(1, 5):
            assert rig.connection.server is not None
            urls.append(rig.connection.server.url)
            rig.connection.leave("of a test")
            await rig.until_up(times + 1)
        assert {*urls} == {one.url, two.url}
        assert urls[::2] == urls[:1] * 2, "each time the other one"


async def test_servers_that_a_server_names_are_known(server: NatsServer) -> None:
    # The first is gone when it is lost: only what it has named is left.
    netloc = server.url.removeprefix("nats://")
    async with (
        fake_nats(FakeNats(info={"connect_urls": [netloc]})) as fake,
        connected(options(fake.url, **LOGIN)) as rig,
    ):
        rig.connection.leave("of a test")
        await rig.until_up(2)
        assert rig.connection.server is not None
        assert rig.connection.server.url == server.url


async def test_a_server_that_is_about_to_stop_is_left_if_there_is_another() -> None:
    leaving = 'INFO {"server_name": "fake", "version": "2.11.0", "ldm": true}'
    async with fake_nats(FakeNats()) as one, fake_nats(FakeNats()) as two:
        async with connected(options(one.url)) as rig:
            one.say(leaving)
            await rig.connection.flush()
            assert rig.connection.is_up
        async with connected(options(one.url, two.url)) as rig:
            assert rig.connection.server is not None
            first = rig.connection.server.url
            one.say(leaving)
            two.say(leaving)
            await rig.until_up(2)
            assert rig.losses == [f"{first} is about to stop"]
            assert rig.connection.server is not None
            assert rig.connection.server.url != first
