"""From a client's bytes to its requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.http.errors import HttpError
from mpchat.http.head import HeadLimits
from mpchat.server.intake import Intake
from mpchat.server.stages import Stage

LIMITS = HeadLimits(target=100, head=300, body=100)
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
EXPECTING = POST.replace(b"Host", b"Expect: 100-continue\r\nHost")


def never() -> None:
    raise AssertionError("nobody expects 100")


@given(st.lists(st.sampled_from([GET, POST, b"\r\n" + GET]), max_size=5), st.data())
def test_pieces_make_no_difference(requests: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(requests)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=6)))
    intake, found = Intake(LIMITS), []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        intake.feed(whole[begin:end])
        while (request := intake.next(never)) is not None:
            head, body = request
            found.append((head.method, body))
    expected = [("POST", b"xyz") if one is POST else ("GET", b"") for one in requests]
    assert found == expected
    assert intake.stage is Stage.IDLE


def test_the_stage_says_what_is_missing() -> None:
    intake = Intake(LIMITS)
    assert intake.stage is Stage.IDLE
    for byte, stage in (
        (POST[:1], Stage.HEAD),
        (POST[1:-3], Stage.BODY),
        (POST[-3:-1], Stage.BODY),
    ):
        intake.feed(byte)
        assert intake.next(never) is None
        assert intake.stage is stage
    intake.feed(POST[-1:])
    assert intake.next(never) is not None
    assert intake.stage is Stage.IDLE


def test_a_client_that_waits_for_100_is_told_once() -> None:
    told: list[int] = []
    intake = Intake(LIMITS)
    for byte in EXPECTING[:-1]:
        intake.feed(bytes([byte]))
        assert intake.next(lambda: told.append(1)) is None
    assert told == [1]
    intake.feed(EXPECTING[-1:])
    assert intake.next(never) is not None


def test_what_follows_a_handshake_is_handed_on() -> None:
    intake = Intake(LIMITS)
    intake.feed(GET + b"\x81\x80")
    assert intake.next(never) is not None
    assert intake.take_rest() == b"\x81\x80"
    assert intake.stage is Stage.IDLE


def test_nonsense_is_an_error_and_can_be_dropped() -> None:
    intake = Intake(LIMITS)
    intake.feed(b"nonsense\r\n\r\n")
    with pytest.raises(HttpError):
        intake.next(never)
    intake.clear()
    assert intake.stage is Stage.IDLE


def test_it_is_full_beyond_the_largest_head() -> None:
    intake = Intake(LIMITS)
    intake.feed(b"x" * 300)
    assert not intake.is_full
    intake.feed(b"x")
    assert intake.is_full
