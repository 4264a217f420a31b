"""The stream is created as the options say, or compared with them field by field, and never changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mpchat.jetstream.api import Api
from mpchat.jetstream.configuration import _duration, differences, epoch_of, prepare, wanted
from mpchat.jetstream.errors import (
    ConfigFault,
    NoReply,
    NoStream,
    NotAllowed,
    StreamDiffers,
    StreamRefused,
    Unavailable,
)
from mpchat.jetstream.subjects import token_of
from tests.kit.nats import ADMIN, ADMIN_PASSWORD, STREAM, NatsServer, permissions
from tests.kit.waiting import eventually
from tests.unit.jetstream.fake import Answer, FakeNats, Sent, answer, fake_nats
from tests.unit.jetstream.rig import LOGIN, Rig, administrator, connected, joined, options

SERVER = "nats://127.0.0.1:1"
HOUR, SECOND = 3600 * 10**9, 10**9


@pytest.mark.covers(
    "JetStreamOptions.stream",
    "JetStreamOptions.storage",
    "JetStreamOptions.max-age",
    "JetStreamOptions.max-bytes",
    "JetStreamOptions.max-message",
    "JetStreamOptions.duplicate-window",
)
async def test_the_stream_is_created_as_the_options_say(server: NatsServer) -> None:
    chosen = options(
        server.url,
        user=ADMIN,
        password=ADMIN_PASSWORD,
        stream="Chat",
        storage="memory",
        max_age="10m",
        max_bytes=1_000_000,
        max_message=1000,
        duplicate_window="30s",
    )
    async with connected(chosen) as rig, administrator(server) as admin:
        await rig.prepare()
        found = (await admin.do("STREAM.INFO.Chat"))["config"]
        assert found["subjects"] == ["chat.*"]
        assert found["republish"] == {"src": "chat.*", "dest": "live.chat.{{wildcard(1)}}"}
        assert (found["storage"], found["max_age"]) == ("memory", 600 * SECOND)
        assert (found["max_bytes"], found["max_msg_size"]) == (1_000_000, 1000)
        assert found["duplicate_window"] == 30 * SECOND
        assert (found["retention"], found["discard"]) == ("limits", "old")
        for name in ("allow_direct", "deny_delete", "deny_purge"):
            assert found[name] is True
        lives = await rig.listen(token_of(b"a"))
        await rig.say(token_of(b"a"), "hello")
        await eventually(lambda: lives, "live message")


@pytest.mark.covers("JetStreamOptions.domain")
async def test_a_stream_in_a_domain(tmp_path: Path) -> None:
    login = f"""accounts {{ R {{ jetstream: enabled, users: [
        {{user: host, password: "{LOGIN["password"]}", permissions: {permissions(domain="hub")}}}
    ] }} }}"""
    server = NatsServer(tmp_path, jetstream=", domain: hub", login=login).start()
    try:
        async with connected(options(server.url, domain="hub", **LOGIN)) as rig:
            assert (await rig.prepare()).config["name"] == STREAM
            await rig.say("a", "hello")
    finally:
        server.close()


async def test_a_user_without_permissions_in_a_domain(tmp_path: Path) -> None:
    login = f"""accounts {{ R {{ jetstream: enabled, users: [
        {{user: host, password: "{LOGIN["password"]}", permissions: {{
            publish: "$JS.hub.API.>", subscribe: "_INBOX_mpchat.>"
        }}}}
    ] }} }}"""
    server = NatsServer(tmp_path, jetstream=", domain: hub", login=login).start()
    try:
        async with connected(options(server.url, domain="hub", **LOGIN)) as rig:
            # NATS is silent.
            with pytest.raises(NoReply, match=r"permissions of the user:\npublish: .*\$JS\.API\."):
                await rig.prepare()
    finally:
        server.close()


async def test_every_host_finds_the_stream_of_the_first(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        first = await rig.prepare()
        await rig.say("a", "1")
        second = await rig.prepare()
        assert (first.created, second.last_seq) == (second.created, 1)


async def test_another_host_is_quicker(server: NatsServer) -> None:
    """It has created the stream between our look and our try."""

    class Slow(Api):
        async def info(self, timeout: float = 2.0) -> Any:
            self.looks = getattr(self, "looks", 0) + 1
            if self.looks > 1:
                return await super().info(timeout)
            try:
                return await super().info(timeout)
            finally:
                async with joined(server.url, max_age="30m"):
                    pass

    async with connected(options(server.url, **LOGIN)) as rig:
        with pytest.raises(StreamDiffers) as caught:
            await prepare(Slow(rig.connection, rig.subjects), rig.options)
        assert caught.value.differences == (
            "max_age: the stream has 30m0s, the options say 1h0m0s",
        )


CHANGES = [
    ("subjects", ["rooms.*", "more.*"], 'has ["rooms.*", "more.*"], the options say ["rooms.*"]'),
    ("retention", "interest", "has interest, the options say limits"),
    ("storage", "memory", "has memory, the options say file"),
    ("discard", "new", "has new, the options say old"),
    ("max_age", 1800 * SECOND, "has 30m0s, the options say 1h0m0s"),
    ("max_age", 0, "has 0ms, the options say 1h0m0s"),
    ("max_bytes", 1 << 20, "has 1048576, the options say 1073741824"),
    ("max_msg_size", 1 << 20, "has 1048576, the options say 131072"),
    ("duplicate_window", 60 * SECOND, "has 1m0s, the options say 2m0s"),
    ("allow_direct", False, "has false, the options say true"),
    ("deny_delete", False, "has false, the options say true"),
    ("deny_purge", False, "has false, the options say true"),
    ("republish", None, "has null, the options say {"),
    (
        "republish",
        {"src": "rooms.*", "dest": "other.{{wildcard(1)}}"},
        'has {"src": "rooms.*", "dest',
    ),
    (
        "republish",
        {"src": "rooms.*", "dest": "live.rooms.{{wildcard(1)}}", "headers_only": True},
        '"headers_only": true}, the options say {',
    ),
    ("allow_rollup_hdrs", True, "has true, and rooms need it without"),
    ("allow_msg_ttl", True, "has true, and rooms need it without"),
    ("allow_msg_counter", True, "has true, and rooms need it without"),
    ("allow_msg_schedules", True, "has true, and rooms need it without"),
    (
        "subject_transform",
        {"src": "rooms.*", "dest": "rooms.x.{{wildcard(1)}}"},
        "and rooms need it without",
    ),
    ("no_ack", True, "has true, and rooms need it without"),
    ("max_msgs_per_subject", 5, "has 5, and rooms need it without"),
    ("persist_mode", "async", "has async, and rooms need it without"),
    ("sources", [{"name": "OTHER"}], "and rooms need it without"),
]
_TOGETHER: dict[str, dict[str, Any]] = {
    # What NATS takes only together with something else.
    "allow_rollup_hdrs": {"deny_purge": False},
    "allow_msg_schedules": {"allow_rollup_hdrs": True, "allow_msg_ttl": True, "deny_purge": False},
}


@pytest.mark.parametrize(("name", "value", "expected"), CHANGES)
async def test_each_field_that_differs_is_told(
    server: NatsServer, name: str, value: Any, expected: str
) -> None:
    async with (
        administrator(server) as admin,
        connected(options(server.url, **LOGIN)) as rig,
    ):
        config = {**wanted(rig.options), **_TOGETHER.get(name, {}), name: value}
        await admin.do("STREAM.CREATE.ROOMS", config)
        with pytest.raises(StreamDiffers, match="nats stream edit") as caught:
            await rig.prepare()
        lines = [line for line in caught.value.differences if line.startswith(f"{name}: ")]
        assert len(lines) == 1
        assert expected in lines[0]
        assert len(caught.value.differences) == 1 + len(_TOGETHER.get(name, {}))
        # Nobody has changed it.
        found = (await admin.do("STREAM.INFO.ROOMS"))["config"]
        assert found.get(name) in {value, None} if isinstance(value, str | int) else True


@pytest.mark.covers("JetStreamOptions.replicas")
async def test_more_replicas_than_servers(server: NatsServer) -> None:
    async with connected(options(server.url, replicas=3, **LOGIN)) as rig:
        with pytest.raises(StreamRefused, match="10074"):
            await rig.prepare()
    async with joined(server.url):
        pass
    async with connected(options(server.url, replicas=3, **LOGIN)) as rig:
        with pytest.raises(
            StreamDiffers, match="num_replicas: the stream has 1, the options say 3"
        ):
            await rig.prepare()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("mirror", {"name": "OTHER"}, 'mirror: the stream has {"name": "OTHER"}'),
        ("sealed", True, "sealed: the stream has true, and rooms need it without"),
        ("num_replicas", 3, "num_replicas: the stream has 3, the options say 1"),
        ("name", "OTHER", "name: the stream has OTHER, the options say ROOMS"),
    ],
)
def test_what_no_test_can_create(name: str, value: Any, expected: str) -> None:
    config = wanted(options(SERVER))
    (line,) = differences(config, {**config, name: value})
    assert line.startswith(expected)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"max_msgs_per_subject": 0},
        {"max_msgs_per_subject": -1, "max_msgs": 100, "allow_rollup_hdrs": False, "sources": []},
        {"persist_mode": "default", "persist": 1, "placement": {"tags": ["fast"]}},
        {"metadata": {"_nats.level": "5", "mpchat.epoch": "2"}, "description": "of mpchat"},
    ],
)
def test_what_an_operator_may_choose(more: dict[str, Any]) -> None:
    config = wanted(options(SERVER))
    assert differences(config, {**config, **more}) == []


@pytest.mark.parametrize(
    ("nanoseconds", "expected"),
    [
        (HOUR, "1h0m0s"),
        (90 * 60 * SECOND + 1500 * 10**6, "1h30m1.5s"),
        (600 * SECOND, "10m0s"),
        (120 * SECOND, "2m0s"),
        (2 * SECOND, "2s"),
        (500 * 10**6, "500ms"),
    ],
)
def test_durations_are_those_of_the_command(nanoseconds: int, expected: str) -> None:
    assert _duration(nanoseconds) == expected


@pytest.mark.covers("JetStreamOptions.create-stream")
async def test_an_operator_creates_the_stream_by_what_the_error_says(server: NatsServer) -> None:
    async with (
        administrator(server) as admin,
        connected(options(server.url, create_stream=False, **LOGIN)) as rig,
    ):
        with pytest.raises(NoStream, match="create-stream is false") as caught:
            await rig.prepare()
        text = str(caught.value)
        assert "`nats stream add ROOMS --config rooms.json`" in text
        config = json.loads(text[text.index("\n{") :])
        await admin.do("STREAM.CREATE.ROOMS", config)
        await rig.prepare()


async def test_another_stream_is_in_the_way(server: NatsServer) -> None:
    async with (
        administrator(server) as admin,
        connected(options(server.url, **LOGIN)) as rig,
    ):
        await admin.do("STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": ["rooms.a"]})
        with pytest.raises(StreamRefused, match=r"10065.*another stream has rooms\.\*"):
            await rig.prepare()


async def test_the_account_has_no_room_for_the_stream(server: NatsServer) -> None:
    async with connected(options(server.url, max_bytes=1 << 40, **LOGIN)) as rig:
        with pytest.raises(StreamRefused, match="10047"):
            await rig.prepare()


@pytest.mark.parametrize(
    ("err_code", "text"),
    [(10005, "no suitable peers, peer offline"), (10049, "error creating store for stream")],
)
async def test_what_is_wrong_with_servers_is_of_the_moment(err_code: int, text: str) -> None:
    def refuse(sent: Sent) -> list[Answer]:
        if ".INFO." in sent.subject:
            return [answer({"error": {"code": 404, "err_code": 10059, "description": "none"}})]
        return [answer({"error": {"code": 500, "err_code": err_code, "description": text}})]

    async with (
        fake_nats(FakeNats(on_publish=refuse)) as fake,
        connected(options(fake.url, replicas=3)) as rig,
    ):
        with pytest.raises(Unavailable, match=text):
            await rig.prepare()


async def test_a_message_may_be_larger_than_the_server_takes(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, more="max_payload: 32KB").start()
    try:
        async with connected(options(server.url, **LOGIN)) as rig:
            with pytest.raises(StreamDiffers, match=r"max_payload: the server has 32768"):
                await rig.prepare()
    finally:
        server.close()


async def test_jetstream_is_off(tmp_path: Path) -> None:
    login = f'accounts {{ R {{ users: [{{user: host, password: "{LOGIN["password"]}"}}] }} }}'
    server = NatsServer(tmp_path, login=login).start()
    try:
        async with connected(options(server.url, **LOGIN)) as rig:
            with pytest.raises((StreamRefused, Unavailable), match="JetStream"):
                await rig.prepare()
    finally:
        server.close()


LACKING = [
    "rooms.*",
    "$JS.API.STREAM.INFO.ROOMS",
    "$JS.API.STREAM.MSG.GET.ROOMS",
    "$JS.API.DIRECT.GET.ROOMS",
    "live.rooms.*",
    "mpchat.ctl.ROOMS.>",
]


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server whose users u0, u1, … lack one permission each; c may not create, none lacks none."""
    all_users = {f"u{number}": _without(subject) for number, subject in enumerate(LACKING)}
    all_users |= {"c": permissions(may_create=False), "none": permissions()}
    listed = "\n".join(
        f'{{user: {name}, password: "p", permissions: {allowed}}}'
        for name, allowed in all_users.items()
    )
    login = f"accounts {{ R {{ jetstream: enabled, users: [\n{listed}\n] }} }}"
    server = NatsServer(tmp_path_factory.mktemp("poor"), login=login)
    try:
        yield server.start()
    finally:
        server.close()


def _without(subject: str) -> str:
    return re.sub(rf'"{re.escape(subject)}"(, )?', "", permissions())


async def test_a_permission_that_is_missing_is_found_at_the_start(poor: NatsServer) -> None:
    async with connected(options(poor.url, user="c", password="p")) as rig:
        with pytest.raises(NoStream, match="the user may not create it") as caught:
            await rig.prepare()
        assert "`nats stream add ROOMS" in str(caught.value)
    async with connected(options(poor.url, user="none", password="p")) as rig:
        await rig.prepare()
    for number, subject in enumerate(LACKING):
        async with connected(options(poor.url, user=f"u{number}", password="p")) as rig:
            with pytest.raises(NotAllowed) as caught_missing:
                await rig.prepare()
            assert isinstance(caught_missing.value, ConfigFault)
            named = caught_missing.value.subject
            assert re.fullmatch(re.escape(subject).replace(r"\*", ".+").replace(">", ".+"), named)
            # What a host needs is named as a whole, and is enough.
            lists = re.search(r"publish: \[(.*)\]\nsubscribe: \[(.*)\]", str(caught_missing.value))
            assert lists is not None
            needed = re.findall('"[^"]+"', permissions())
            assert sorted(re.findall('"[^"]+"', lists[1] + lists[2])) == sorted(needed)


async def test_the_epoch_is_that_of_one_life_of_a_stream(server: NatsServer) -> None:
    async def epoch(rig: Rig) -> str:
        return epoch_of(await rig.api.info())

    async with administrator(server) as admin:
        async with joined(server.url) as rig:
            first = await epoch(rig)
            assert re.fullmatch("[A-Za-z0-9_-]{16}", first)
            await rig.say("a", "1")
            assert await epoch(rig) == first
            config = wanted(rig.options)
            # As an operator does after a restore.
            await admin.do("STREAM.UPDATE.ROOMS", {**config, "metadata": {"mpchat.epoch": "2"}})
            second = await epoch(rig)
            await admin.do("STREAM.UPDATE.ROOMS", {**config, "metadata": {"other": "x"}})
            assert await epoch(rig) == first
            await rig.prepare()
            await admin.delete_all()
            await rig.prepare()
            third = await epoch(rig)
        assert len({first, second, third}) == 3
