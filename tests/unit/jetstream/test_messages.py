"""What the headers of messages say, also those that an author has forged."""

from __future__ import annotations

import pytest

from mpchat.jetstream.errors import Malformed
from mpchat.jetstream.messages import Live, Message, live_of, milliseconds_of, stored_of

HEADERS = {
    "Nats-Stream": "ROOMS",
    "Nats-Subject": "rooms.YQ",
    "Nats-Sequence": "4",
    "Nats-Time-Stamp": "2026-11-29T01:28:40.354397839Z",
    "Nats-Last-Sequence": "2",
}
AT = 1_795_915_720_354


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-29T01:28:40.354397839Z", AT),
        ("2026-11-29T01:28:40.354999999Z", AT),
        ("2026-11-29T01:28:40.355Z", AT + 1),
        ("2026-11-29T01:28:40.3549Z", AT),
        # Go leaves out zeros at the end.
        ("2026-11-29T01:28:40.3Z", AT - 54),
        ("2026-11-29T01:28:40Z", AT - 354),
        ("2026-11-29T02:28:40+01:00", AT - 354),
        ("1970-01-01T00:00:00.001Z", 1),
        ("2262-04-11T23:47:16.854775807Z", 9_223_372_036_854),
    ],
)
def test_a_time_in_milliseconds_is_exact_and_rounded_down(text: str, expected: int) -> None:
    assert milliseconds_of(text) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-29T01:28:40", "1795915720"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        milliseconds_of(text)


def test_a_live_message() -> None:
    found = live_of(Message("live.rooms.YQ", b"hello", HEADERS))
    assert found == Live("YQ", 4, AT, b"hello", 2)


@pytest.mark.parametrize("name", ["Nats-Sequence", "Nats-Time-Stamp", "Nats-Last-Sequence"])
@pytest.mark.parametrize("value", [None, "", "x", "-"])
def test_a_live_message_that_the_stream_did_not_send(name: str, value: str | None) -> None:
    headers = {**HEADERS, name: value} if value is not None else {**HEADERS}
    if value is None:
        del headers[name]
    message = Message("live.rooms.YQ", b"", headers)
    with pytest.raises(Malformed, match=r"live\.rooms\.YQ"):
        live_of(message)
    if name != "Nats-Last-Sequence":
        with pytest.raises(Malformed, match="YQ"):
            stored_of("YQ", message)


def test_a_status_is_the_servers_alone() -> None:
    assert Message("a", b"", {"Status": "204"}).status == "204"
    assert Message("a", b"", {**HEADERS, "Status": "204"}).status == ""
    assert Message("a", b"").status == ""
    assert Message("a", b"").header("Nats-Sequence") == ""
