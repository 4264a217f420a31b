"""Names of rooms as levels of subjects."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mpchat.jetstream.subjects import Subjects, token_of
from tests.unit.jetstream.rig import options

NAMES = st.binary(min_size=1, max_size=128)


@given(NAMES, NAMES)
def test_a_token_is_one_level_without_wildcards_and_its_rooms_own(
    first: bytes, second: bytes
) -> None:
    assert re.fullmatch("[A-Za-z0-9_-]{2,171}", token_of(first))
    assert (token_of(first) == token_of(second)) is (first == second)


@given(NAMES)
def test_no_room_has_the_subject_of_the_barrier(name: bytes) -> None:
    subjects = Subjects("ROOMS")
    assert subjects.stored(token_of(name)) != subjects.barrier


def test_the_subjects_of_a_stream() -> None:
    subjects = Subjects("ROOMS")
    assert subjects.stored("YQ") == "rooms.YQ"
    assert subjects.live("YQ") == "live.rooms.YQ"
    assert subjects.all_stored == "rooms.*"
    assert subjects.all_live == "live.rooms.*"
    assert subjects.control("hello") == "mpchat.ctl.ROOMS.hello"
    assert subjects.direct == "$JS.API.DIRECT.GET.ROOMS"
    assert subjects.token("rooms.YQ") == "YQ"
    assert subjects.token("other.YQ") is None


def test_two_streams_have_no_subject_in_common() -> None:
    # A stream may even be named as what live subjects begin with.
    names = ("ROOMS", "CHAT", "LIVE", "MPCHAT")
    found = [
        subject
        for stream in map(Subjects, names)
        for subject in (
            stream.stored("YQ"),
            stream.live("YQ"),
            stream.control("hello"),
            stream.direct,
            stream.message,
            stream.info,
            stream.create,
        )
    ]
    assert len(set(found)) == len(found)
    levels = {subject.count(".") for subject in found if subject.startswith("live.")}
    assert levels == {1, 2}, "live.* of the stream LIVE is not live.live.*"


def test_a_domain_has_an_api_of_its_own() -> None:
    found = options("nats://h:1", domain="hub").subjects
    assert found.info == "$JS.hub.API.STREAM.INFO.ROOMS"
    assert found.stored("YQ") == "rooms.YQ"
