"""mpchat.room.v1: each frame that a client may send, and each that it gets."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.rooms import protocol
from mpchat.rooms.message import BINARY, JSON, TEXT, Message, encode
from mpchat.rooms.protocol import (
    AskMembers,
    CloseCode,
    NotAnObject,
    Publish,
    Reason,
    Unknown,
    Unpublishable,
    parse,
)


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ('{"publish": "1", "data": "hello"}', Publish("1", TEXT, b"hello")),
        ('{"publish": "1", "data": ""}', Publish("1", TEXT, b"")),
        ('{"publish": "1", "data": "é"}', Publish("1", TEXT, "é".encode())),
        (
            '{"publish": "1", "data": {"a": [1, 2.5, null]}}',
            Publish("1", JSON, b'{"a":[1,2.5,null]}'),
        ),
        ('{"publish": "1", "data": null}', Publish("1", JSON, b"null")),
        ('{"publish": "1", "data": false}', Publish("1", JSON, b"false")),
        ('{"publish": "1", "data": 9007199254740993}', Publish("1", JSON, b"9007199254740993")),
        ('{"publish": "1", "base64": "AP8="}', Publish("1", BINARY, b"\x00\xff")),
        ('{"publish": "1", "base64": ""}', Publish("1", BINARY, b"")),
        ('{"later": 1, "publish": "1", "data": 2}', Publish("1", JSON, b"2")),
        ('{"members": true}', AskMembers()),
    ],
)
def test_what_a_client_may_say(frame: str, expected: protocol.Frame) -> None:
    assert parse(frame) == expected


@pytest.mark.parametrize(
    ("frame", "name"),
    [
        ('{"publish": "1"}', "1"),
        ('{"publish": "1", "data": 1, "base64": ""}', "1"),
        ('{"publish": "1", "base64": "AP8"}', "1"),
        ('{"publish": "1", "base64": "A P8="}', "1"),
        ('{"publish": "1", "base64": 5}', "1"),
        ('{"publish": "1", "base64": "é==="}', "1"),
        ('{"publish": "1", "data": "\\ud800"}', "1"),
        ('{"publish": "1", "data": ["\\ud800"]}', "1"),
        ('{"publish": "1", "data": 1e999}', "1"),
        ('{"publish": "\\ud800", "data": 1}', "\ud800"),
        ('{"publish": "", "data": 1}', ""),
        ('{"publish": "' + 65 * "x" + '", "data": 1}', 65 * "x"),
        ('{"publish": 1, "data": 1}', 1),
        ('{"publish": null, "data": 1}', None),
    ],
)
def test_a_publish_with_a_mistake_is_answered_with_what_came_for_an_id(
    frame: str, name: Any
) -> None:
    assert parse(frame) == Unpublishable(name)
    assert json.loads(protocol.nack(name, Reason.INVALID)) == {"nack": name, "reason": "invalid"}
    # Also half a character, which a frame cannot have by itself.
    protocol.nack(name, Reason.INVALID).encode()


def test_an_id_has_up_to_64_characters() -> None:
    name = 64 * "é"
    assert parse(json.dumps({"publish": name, "data": 1})) == Publish(name, JSON, b"1")


@pytest.mark.parametrize(
    "frame", ["{}", '{"members": false}', '{"members": 1}', '{"subscribe": "a"}']
)
def test_unknown_objects_are_ignored(frame: str) -> None:
    assert parse(frame) == Unknown()


DEEP = 100_000
MISTAKES = {
    **{text: text for text in ("", "hello", "[]", '"publish"', "1", "null", "{", "{'a': 1}")},
    **{text: text for text in ('{"a": NaN}', '{"a": -Infinity}', '{"a": 1} {}')},
    "deep lists": "[" * DEEP,
    "deep objects": '{"a":' * DEEP,
    "a number of 5,000 digits": f'{{"a": {5000 * "9"}}}',
}


@pytest.mark.parametrize("frame", MISTAKES.values(), ids=MISTAKES.keys())
def test_what_is_no_object_is_a_mistake(frame: str) -> None:
    with pytest.raises(NotAnObject, match=r"mpchat\.room\.v1"):
        parse(frame)


@pytest.mark.parametrize(
    ("kind", "payload", "by", "expected"),
    [
        (TEXT, b"hello", None, {"offset": 18, "data": "hello", "at": 1764374400123}),
        (
            TEXT,
            'a"\n\\é'.encode(),
            "ann",
            {"offset": 18, "data": 'a"\n\\é', "at": 1764374400123, "by": "ann"},
        ),
        (
            JSON,
            b'{"a":[1]}',
            'é"',
            {"offset": 18, "data": {"a": [1]}, "at": 1764374400123, "by": 'é"'},
        ),
        (BINARY, b"\x00\xff", "", {"offset": 18, "base64": "AP8=", "at": 1764374400123, "by": ""}),
    ],
)
def test_a_message(kind: int, payload: bytes, by: str | None, expected: Any) -> None:
    frame = protocol.message(18, kind, payload, 1764374400123, by)
    assert json.loads(frame) == expected
    assert list(json.loads(frame)) == list(expected)


@pytest.mark.parametrize(("heartbeat", "shown"), [(25.0, "25"), (0.5, "0.5"), (0.0, "0")])
def test_the_first_frame(heartbeat: float, shown: str) -> None:
    frame = protocol.welcome("a\né", "k3f", 17, 1764374399001, recovered=True, heartbeat=heartbeat)
    assert frame == (
        '{"room":"a\\né","epoch":"k3f","offset":17,"at":1764374399001,"recovered":true,'
        f'"heartbeat":{shown}}}'
    )


def test_answers_and_hints() -> None:
    assert protocol.ack("1", 18) == '{"ack":"1","offset":18}'
    assert [protocol.nack("1", reason) for reason in Reason] == [
        f'{{"nack":"1","reason":"{word}"}}'
        for word in ("rate", "size", "invalid", "forbidden", "unavailable", "closed")
    ]
    assert protocol.joined({"user": "ann"}) == '{"joined":{"user":"ann"}}'
    assert protocol.left({"user": "ann"}) == '{"left":{"user":"ann"}}'
    assert protocol.members([{"user": "ann"}, 5]) == '{"members":[{"user":"ann"},5]}'
    assert protocol.members([]) == '{"members":[]}'
    assert protocol.NO_PRESENCE == '{"presence":false}'
    assert protocol.HEARTBEAT == "{}"


def test_close_codes() -> None:
    assert {code.value for code in CloseCode} >= {4401, 4403, 4404, 4429, 1013, 1012}


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)
NAMES = st.text(min_size=1, max_size=64)


@given(NAMES, VALUES, st.integers(0, 2**53 - 1), st.none() | st.text())
def test_a_value_comes_out_as_it_went_in(
    name: str, value: Any, offset: int, by: str | None
) -> None:
    frame = parse(json.dumps({"publish": name, "data": value}))
    assert isinstance(frame, Publish)
    sent = json.loads(protocol.message(offset, frame.kind, frame.payload, 5, by))
    assert (sent["data"], sent["offset"], sent["at"], sent.get("by")) == (value, offset, 5, by)
    assert json.loads(protocol.ack(frame.id, offset))["ack"] == name
    # An author who iterates gets the same, and one who publishes it sends the same bytes.
    message = Message(frame.kind, frame.payload, by, "e", offset, 5)
    assert message.data == value
    assert encode(value) == (frame.kind, frame.payload)


@given(NAMES, st.binary())
def test_bytes_come_out_as_they_went_in(name: str, value: bytes) -> None:
    text = base64.b64encode(value).decode()
    frame = parse(json.dumps({"publish": name, "base64": text}))
    assert frame == Publish(name, BINARY, value)
    assert encode(value) == (BINARY, value)
    sent = json.loads(protocol.message(1, BINARY, value, 5, None))
    assert base64.b64decode(sent["base64"]) == value
    assert "data" not in sent


@given(
    st.text()
    | VALUES.map(json.dumps)
    | st.dictionaries(st.sampled_from(["publish", "data", "base64", "members"]), VALUES).map(
        json.dumps
    )
)
def test_any_text_is_a_frame_or_a_mistake(text: str) -> None:
    try:
        frame = parse(text)
    except NotAnObject:
        return
    assert isinstance(frame, protocol.Frame)
    if isinstance(frame, Unpublishable):
        protocol.nack(frame.id, Reason.INVALID).encode()
