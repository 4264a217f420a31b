"""What rooms and clients may be called."""

from __future__ import annotations

import pytest

from mpchat.rooms.names import check_client, encode_name


@pytest.mark.parametrize("name", ["a", "é", "lobby/1", "a b", 128 * "x", 64 * "é", "\u2028"])
def test_a_room_may_be_called(name: str) -> None:
    assert encode_name(name) == name.encode()


@pytest.mark.parametrize(
    "name", ["", 129 * "x", 65 * "é", "a\n", "\x00", "a\x7f", "\x85", "\ud800"]
)
def test_no_room_is_called(name: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a room's name: 1 to 128 bytes"):
        encode_name(name)


@pytest.mark.parametrize("name", [16 * "a", 64 * "Z", "0123456789-._~az"])
def test_a_client_may_be_called(name: str) -> None:
    assert check_client(name) == name


@pytest.mark.parametrize(
    "name", ["", 15 * "a", 65 * "a", 15 * "a" + "é", 16 * " ", 16 * "a" + "\n"]
)
def test_no_client_is_called(name: str) -> None:
    with pytest.raises(ValueError, match=r"^expected a client's name: 16 to 64"):
        check_client(name)
