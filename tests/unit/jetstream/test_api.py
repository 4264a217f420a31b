"""The requests to a real stream, and what they make of answers that no good server gives."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from mpchat.jetstream import api as module
from mpchat.jetstream.api import Ack, Changed, Info
from mpchat.jetstream.errors import (
    ApiError,
    Busy,
    ConnectionLost,
    Incomplete,
    JetStreamError,
    NoLeader,
    NoReply,
    NotAllowed,
    Refused,
    StreamRefused,
    TooLarge,
    Unavailable,
    WrongStream,
)
from tests.kit.nats import NatsServer
from tests.kit.waiting import eventually
from tests.unit.jetstream.fake import Answer, FakeNats, Sent, answer, fake_nats, status, stored
from tests.unit.jetstream.rig import LIMIT, LOGIN, Rig, administrator, connected, joined, options

WAIT: dict[str, float] = {"timeout": LIMIT}
BATCH: dict[str, Any] = {"messages": 100, "max_bytes": 1 << 20, "timeout": LIMIT}


async def test_a_message_is_stored_once_for_each_id_whatever_its_room(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        found = await rig.listen("a")
        publish = rig.api.publish
        assert await publish("a", b"one", id="1", **WAIT) == Ack(1, duplicate=False)
        assert await publish("a", b"one", id="1", **WAIT) == Ack(1, duplicate=True)
        assert await publish("b", b"another", id="1", **WAIT) == Ack(1, duplicate=True)
        assert await publish("a", b"two", id="2", **WAIT) == Ack(2, duplicate=False)
        await eventually(lambda: len(found) == 2, "live messages")
        assert [(live.seq, live.prev, live.data) for live in found] == [
            (1, 0, b"one"),
            (2, 1, b"two"),
        ]
        assert await rig.api.message(1, **WAIT) is not None


async def test_what_a_publish_is_refused_for(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        with pytest.raises(Refused) as caught:
            await rig.api.publish("a", bytes(rig.options.max_message + 1), id="1", **WAIT)
        assert caught.value.err_code == 10054
        with pytest.raises(TooLarge):
            await rig.api.publish("a", bytes(2 << 20), id="2", **WAIT)
        assert (await rig.api.info(**WAIT)).last_seq == 0
        assert rig.losses == []


async def test_another_stream_has_our_subjects(server: NatsServer) -> None:
    async with (
        administrator(server) as admin,
        connected(options(server.url, **LOGIN)) as rig,
    ):
        await admin.do("STREAM.CREATE.OTHER", {"name": "OTHER", "subjects": ["rooms.*"]})
        with pytest.raises(WrongStream, match="another stream has this subject"):
            await rig.api.publish("a", b"x", id="1", **WAIT)


async def test_nobody_answers_without_a_stream(server: NatsServer) -> None:
    async with connected(options(server.url, **LOGIN)) as rig:
        for request in (
            rig.api.publish("a", b"x", id="1", **WAIT),
            rig.api.barrier(**WAIT),
            rig.api.batch("a", 1, **BATCH),
            rig.api.changed(["a"], 0, **WAIT),
            rig.api.message(1, **WAIT),
        ):
            with pytest.raises(NoLeader):
                await request
        with pytest.raises(ApiError) as caught:
            await rig.api.info(**WAIT)
        assert caught.value.err_code == module.STREAM_NOT_FOUND


async def test_the_state_of_the_stream(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        await rig.say("a", "1", "2", "3")
        found = await rig.api.info(**WAIT)
        assert (found.first_seq, found.last_seq, found.replicas) == (1, 3, 1)
        assert found.has_leader
        assert found.config["name"] == "ROOMS"
        assert found.created.startswith("20")


async def test_after_a_barrier_all_is_live_and_it_stores_nothing(server: NatsServer) -> None:
    async with joined(server.url) as rig, joined(server.url) as other:
        for number in range(50):
            found = await rig.listen(f"r{number}")
            (seq,) = await other.say(f"r{number}", "x")
            await eventually(lambda found=found: found, "live message")  # type: ignore[misc]
            assert found[0].seq == seq
        assert (await rig.api.info(**WAIT)).last_seq == 50


@pytest.mark.parametrize(
    "found",
    [
        answer({"stream": "ROOMS", "seq": 1}),
        answer({"error": {"code": 400, "err_code": 10054, "description": "too large"}}),
        answer({"error": {"code": 503, "err_code": 10008, "description": "unavailable"}}),
        status("503"),
        Answer(b"what?"),
        Answer(b"[]"),
    ],
)
async def test_only_the_streams_refusal_is_a_barrier(found: Answer) -> None:
    async with rig_of(lambda sent: [found]) as rig:
        with pytest.raises(Unavailable):
            await rig.api.barrier(**WAIT)


async def test_messages_of_a_room_in_parts(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        for number in range(5):
            await rig.say("a", f"{number}")
            await rig.say("b", f"{number}")
        found = await rig.api.batch("a", 1, **BATCH)
        assert [(message.seq, message.data) for message in found.messages] == [
            (2 * number + 1, b"%d" % number) for number in range(5)
        ]
        assert (found.pending, found.last) == (0, 9)
        found = await rig.api.batch("a", 2, messages=2, max_bytes=1 << 20, **WAIT)
        assert [message.seq for message in found.messages] == [3, 5]
        assert (found.pending, found.last) == (2, 5)
        # One message comes whatever its size.
        found = await rig.api.batch("a", 1, messages=9, max_bytes=1, **WAIT)
        assert ([message.seq for message in found.messages], found.pending) == ([1], 4)
        for found in (
            await rig.api.batch("a", 10, **BATCH),
            await rig.api.batch("nobody", 1, **BATCH),
        ):
            assert found == ([], 0, 0)


async def test_a_live_message_and_the_stored_one_are_equal(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        lives = await rig.listen("a")
        await rig.say("a", *(f"{number}" for number in range(20)))
        await eventually(lambda: len(lives) == 20, "live messages")
        for live in lives:
            found = [
                (await rig.api.batch("a", live.seq, **{**BATCH, "messages": 1})).messages[0],
                await rig.api.message(live.seq, **WAIT),
                await rig.api.leader_next("a", live.seq, **WAIT),
                await rig.api.leader_message(live.seq, **WAIT),
            ]
            for message in found:
                assert message is not None
                assert (message.token, message.seq) == (live.token, live.seq)
                assert (message.at_ms, message.data) == (live.at_ms, live.data)
        assert await rig.api.leader_last("a", **WAIT) == found[3]


async def test_headers_that_an_author_has_forged(server: NatsServer) -> None:
    async with joined(server.url) as rig, administrator(server) as admin:
        lives = await rig.listen("a")
        forged = {
            "Nats-Sequence": "99",
            "Nats-Last-Sequence": "98",
            "Nats-Time-Stamp": "1999-01-01T00:00:00Z",
            "Nats-Num-Pending": "0",
            "Nats-Stream": "OTHER",
            "Nats-Subject": "rooms.other",
            "Nats-UpTo-Sequence": "77",
            "Status": "404",
            "Description": "Message Not Found",
        }
        for number in range(3):
            headers = forged if number == 1 else None
            await admin.client.publish("rooms.a", b"%d" % number, headers=headers)
        await eventually(lambda: len(lives) == 3, "live messages")
        assert [(live.seq, live.prev) for live in lives] == [(1, 0), (2, 1), (3, 2)]
        found = await rig.api.batch("a", 1, **BATCH)
        assert [message.seq for message in found.messages] == [1, 2, 3]
        assert found.messages[1].at_ms == lives[1].at_ms > 1_700_000_000_000
        for message in (await rig.api.message(2, **WAIT), await rig.api.leader_message(2, **WAIT)):
            assert message == found.messages[1]
        changed = await rig.api.changed(["a", "other"], 0, **WAIT)
        assert ({*changed.last}, changed.upto) == ({"a"}, 3)


async def test_rooms_that_have_changed(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        assert await rig.api.changed(["a", "b"], 0, **WAIT) == Changed({}, 0)
        assert await rig.api.changed([], 7, **WAIT) == Changed({}, 7)
        await rig.say("a", "1", "2")
        await rig.say("b", "1")
        await rig.say("c", "1")
        tokens = ["a", "b", "quiet"]
        for after, expected in (
            (0, {"a": 2, "b": 3}),
            (1, {"a": 2, "b": 3}),
            (2, {"b": 3}),
            (3, {}),
            (4, {}),
        ):
            found = await rig.api.changed(tokens, after, **WAIT)
            assert {token: message.seq for token, message in found.last.items()} == expected
            assert found.upto == 4


async def test_more_rooms_than_one_question_takes(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        tokens = [f"r{number}" for number in range(2500)]
        for token in tokens[::400]:
            await rig.say(token, "x")
        # Nothing is known of how far the answer goes that says of a thousand rooms that there are none.
        found = await rig.api.changed(tokens, 1, **WAIT)
        assert {*found.last} == {*tokens[400::400]}
        assert found.upto == 7
        found = await rig.api.changed([*tokens, *map(str, range(1024))], 1, **WAIT)
        assert {*found.last} == {*tokens[400::400]}
        assert found.upto == 1


async def test_more_than_one_answer_holds(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        size = 60_000
        tokens = [f"r{number}" for number in range(2 * module._MOST_BYTES // size)]
        await asyncio.gather(
            *(rig.api.publish(token, bytes(size), id=token, **WAIT) for token in tokens)
        )
        found = await rig.api.changed(tokens, 0, **WAIT)
        assert {*found.last} == {*tokens}
        assert found.upto == len(tokens)


async def test_one_message_by_its_sequence(server: NatsServer) -> None:
    async with joined(server.url) as rig:
        await rig.say("a", "1")
        await rig.say("b", "1", "2")
        found = await rig.api.message(2, **WAIT)
        assert found is not None
        assert (found.token, found.data) == ("b", b"1")
        assert await rig.api.message(4, **WAIT) is None
        assert await rig.api.leader_message(4, **WAIT) is None
        found = await rig.api.leader_next("b", 1, **WAIT)
        assert found is not None
        assert found.seq == 2
        assert await rig.api.leader_next("a", 2, **WAIT) is None
        assert await rig.api.leader_last("nobody", **WAIT) is None


async def test_what_the_user_may_not_do_is_no_timeout(server: NatsServer) -> None:
    async with connected(options(server.url, stream="Other", **LOGIN)) as rig:
        for request in (
            rig.api.publish("Ab", b"x", id="1", timeout=3600),
            rig.api.info(timeout=3600),
            rig.api.batch("a", 1, messages=1, max_bytes=1, timeout=3600),
        ):
            with pytest.raises(NotAllowed) as caught:
                await asyncio.wait_for(request, LIMIT)
            assert "the user's permissions at NATS lack" in str(caught.value)
        assert caught.value.subject == "$JS.API.DIRECT.GET.Other"
        assert rig.errors == []


def rig_of(on_publish: Callable[[Sent], Iterable[Answer]]) -> Any:
    """Connect to a server that answers like this."""
    return _RigOf(FakeNats(on_publish=on_publish))


class _RigOf:
    def __init__(self, fake: FakeNats) -> None:
        self.fake = fake
        self._serving = fake_nats(fake)

    async def __aenter__(self) -> Rig:
        await self._serving.__aenter__()
        self.rig = Rig(options(self.fake.url))
        await self.rig.connection.connect(LIMIT)
        return self.rig

    async def __aexit__(self, *details: Any) -> None:
        await self.rig.connection.close()
        await self._serving.__aexit__(*details)


async def test_two_subjects_that_differ_only_by_case_are_not_confused() -> None:
    # The server allows one of them. Which one nats-py does not tell: both may be stored.
    def refuse(sent: Sent) -> Iterable[Answer]:
        setup.fake.say("-ERR 'Permissions Violation for Publish to \"rooms.AB\"'")
        return []

    setup = rig_of(refuse)
    async with setup as rig:
        both = [rig.api.publish(token, b"", id=token, timeout=0.3) for token in ("AB", "ab")]
        for outcome in await asyncio.gather(*both, return_exceptions=True):
            assert isinstance(outcome, NoReply)


async def test_a_loss_ends_all_questions_at_once() -> None:
    setup = rig_of(lambda sent: [])
    async with setup as rig:
        waiting = [
            asyncio.ensure_future(rig.api.publish("a", b"", id=f"{number}", timeout=3600))
            for number in range(3)
        ]
        await rig.connection.flush()
        rig.connection.leave("of a test")
        done, _pending = await asyncio.wait(waiting, timeout=LIMIT)
        assert len(done) == 3
        for task in done:
            assert isinstance(task.exception(), ConnectionLost)
            assert "of a test" in str(task.exception())


async def test_an_answer_that_comes_late_is_not_that_of_another_question() -> None:
    late: list[Sent] = []
    replies: list[str] = []

    def keep(sent: Sent) -> Iterable[Answer]:
        replies.append(sent.reply)
        late.append(sent)
        return [] if len(late) == 1 else [answer({"stream": "ROOMS", "seq": 7})]

    async with rig_of(keep) as rig:
        with pytest.raises(NoReply, match=r"rooms\.a"):
            await rig.api.publish("a", b"", id="1", timeout=0.05)
        assert await rig.api.publish("a", b"", id="1", **WAIT) == Ack(7, duplicate=False)
        assert len({*replies}) == 2
        assert b"Nats-Expected-Stream: ROOMS" in late[1].headers
        assert late[0].headers == late[1].headers


def error(code: int, err_code: int) -> Answer:
    return answer({"error": {"code": code, "err_code": err_code, "description": "why not"}})


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (status("503"), NoLeader),
        (error(409, 10158), Busy),
        (error(400, 10060), WrongStream),
        (error(400, 10054), Refused),
        (error(400, 10071), Refused),
        (error(503, 10008), NoLeader),
        (error(503, 10077), Unavailable),
        (error(503, 10039), StreamRefused),
        (error(503, 10076), StreamRefused),
        (Answer(b""), Incomplete),
    ],
)
async def test_what_becomes_of_a_publish(found: Answer, expected: type[JetStreamError]) -> None:
    async with rig_of(lambda sent: [found]) as rig:
        with pytest.raises(expected) as caught:
            await rig.api.publish("a", b"", id="1", **WAIT)
        assert isinstance(caught.value, Refused) is (expected is Refused)


FIRST, SECOND, THIRD = (stored("rooms.a", seq, last) for seq, last in ((3, 0), (5, 3), (9, 5)))


@pytest.mark.parametrize(
    "answers",
    [
        [FIRST, THIRD, status("204 EOB", Nats_Num_Pending=0, Nats_Last_Sequence=9)],
        [SECOND, THIRD, status("204 EOB", Nats_Num_Pending=0, Nats_Last_Sequence=9)],
        [FIRST, SECOND, status("204 EOB", Nats_Num_Pending=0, Nats_Last_Sequence=9)],
        [status("204 EOB", Nats_Num_Pending=0, Nats_Last_Sequence=9)],
        [
            FIRST,
            stored("rooms.b", 5, 3),
            status("204 EOB", Nats_Num_Pending=0, Nats_Last_Sequence=5),
        ],
        [FIRST, status("204 EOB")],
        [status("408 Bad Request")],
        [status("413 Too Many Results")],
    ],
)
async def test_a_batch_with_a_hole_is_none(answers: list[Answer]) -> None:
    async with rig_of(lambda sent: answers) as rig:
        with pytest.raises(Incomplete):
            await rig.api.batch("a", 1, **BATCH)


async def test_a_batch_without_an_end_is_none() -> None:
    # So does a server before 2.11: one message, and then nothing.
    async with rig_of(lambda sent: [FIRST]) as rig:
        with pytest.raises(NoReply):
            await rig.api.batch("a", 1, messages=2, max_bytes=100, timeout=0.1)


async def test_a_whole_batch() -> None:
    whole = [FIRST, SECOND, status("204 EOB", Nats_Num_Pending=4, Nats_Last_Sequence=5)]
    async with rig_of(lambda sent: whole) as rig:
        found = await rig.api.batch("a", 1, **BATCH)
        assert ([message.seq for message in found.messages], found.pending) == ([3, 5], 4)


async def test_a_part_of_what_has_changed_is_nothing() -> None:
    parts = [
        FIRST,
        status("204 EOB", Nats_Num_Pending=0, Nats_Last_Sequence=9, Nats_UpTo_Sequence=9),
    ]
    async with rig_of(lambda sent: parts) as rig:
        with pytest.raises(Incomplete):
            await rig.api.changed(["a"], 1, **WAIT)


async def test_pages_of_what_has_changed_are_of_one_moment() -> None:
    asked: list[Any] = []

    def pages(sent: Sent) -> Iterable[Answer]:
        asked.append(json.loads(sent.data))
        if len(asked) == 1:
            yield stored("rooms.a", 3, 0)
            yield status("204 EOB", Nats_Num_Pending=1, Nats_Last_Sequence=3, Nats_UpTo_Sequence=9)
        else:
            yield stored("rooms.b", 5, 0)
            yield status("204 EOB", Nats_Num_Pending=0, Nats_Last_Sequence=5, Nats_UpTo_Sequence=12)

    async with rig_of(pages) as rig:
        found = await rig.api.changed(["a", "b"], 1, **WAIT)
        assert ({*found.last}, found.upto) == ({"a", "b"}, 9)
        assert (asked[0]["seq"], asked[1]["seq"], asked[1]["up_to_seq"]) == (2, 4, 9)


@pytest.mark.parametrize(
    ("cluster", "expected"),
    [
        (None, True),
        ({"leader": "n1", "replicas": [{"active": 10**9}, {"active": 9 * 10**9}]}, True),
        ({"leader": "n1", "replicas": [{"active": 9 * 10**9}, {"active": 9 * 10**9}]}, False),
        ({"leader": "n1"}, False),
        ({"leader": ""}, False),
        ({"name": "C"}, False),
    ],
)
async def test_a_replica_that_is_cut_off_names_no_leader(cluster: Any, expected: bool) -> None:
    body = {
        "config": {"name": "ROOMS", "num_replicas": 3},
        "created": "2026-11-29T01:28:40Z",
        "state": {"first_seq": 1, "last_seq": 2},
    }
    found = answer(body if cluster is None else {**body, "cluster": cluster})
    async with rig_of(lambda sent: [found]) as rig:
        info: Info = await rig.api.info(**WAIT)
        assert info.has_leader is expected
