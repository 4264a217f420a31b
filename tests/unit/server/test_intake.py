"""From a client's bytes to its requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.http.body import CHUNKS_AT_A_TIME
from mpchat.http.errors import HttpError
from mpchat.http.head import Head, HeadLimits
from mpchat.server.intake import Intake
from mpchat.server.stages import Stage

LIMITS = HeadLimits(target=100, head=300)
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nxyz"
CHUNKED = (
    b"POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"2;a=b\r\nxy\r\n1\r\nz\r\n0\r\nT: t\r\n\r\n"
)
EXPECTING = POST.replace(b"Host", b"Expect: 100-continue\r\nHost")


def never(head: Head) -> int:
    raise AssertionError("this request has no body, and expects no 100")


def admit(head: Head) -> int:
    return 100


@given(st.lists(st.sampled_from([GET, POST, CHUNKED, b"\r\n" + GET]), max_size=5), st.data())
def test_pieces_make_no_difference(requests: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(requests)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole)), max_size=6)))
    intake, found = Intake(LIMITS), []
    for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        intake.feed(whole[begin:end])
        while (request := intake.next(admit)) is not None:
            head, body = request
            found.append((head.method, body))
    expected = [("POST", b"xyz") if one in {POST, CHUNKED} else ("GET", b"") for one in requests]
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
        assert intake.next(admit) is None
        assert intake.stage is stage
    intake.feed(POST[-1:])
    assert intake.next(admit) is not None
    assert intake.stage is Stage.IDLE


def test_a_request_with_a_body_is_admitted_once_and_before_any_of_it() -> None:
    for sent in (EXPECTING, POST, CHUNKED):
        intake = Intake(LIMITS)
        asked: list[int] = []

        def ask(head: Head, intake: Intake = intake, asked: list[int] = asked) -> int:
            asked.append(intake.body_size)
            return 3

        for byte in sent[:-1]:
            intake.feed(bytes([byte]))
            assert intake.next(ask) is None
        assert asked == [0]
        intake.feed(sent[-1:])
        assert intake.next(ask) is not None
        assert asked == [0]


def test_who_refuses_a_body_is_asked_for_none_of_it() -> None:
    def refuse(head: Head) -> int:
        raise HttpError(404, "nothing is there")

    intake = Intake(LIMITS)
    intake.feed(POST)
    with pytest.raises(HttpError):
        intake.next(refuse)
    assert intake.head is not None
    assert intake.body_size == 0


def test_a_body_of_many_chunks_is_decoded_in_steps() -> None:
    head, _, _ = CHUNKED.partition(b"\r\n\r\n")
    intake = Intake(LIMITS)
    intake.feed(head + b"\r\n\r\n" + b"1\r\nx\r\n" * 100 + b"0\r\n\r\n")
    assert intake.next(admit) is None
    assert (intake.is_behind, intake.body_size) == (True, CHUNKS_AT_A_TIME)
    request = intake.next(admit)
    assert request is not None
    assert request[1] == b"x" * 100
    assert (intake.is_behind, intake.body_size) == (False, 0)


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
