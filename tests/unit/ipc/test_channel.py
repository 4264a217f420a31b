"""Channels and the scoreboard."""

from __future__ import annotations

import os

import pytest

from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed
from mpchat.linux.memfd import read_memfd, sealed_memfd


@pytest.mark.parametrize("size", [0, 100, 40_000, 3_000_000])
def test_messages_of_any_size_with_descriptors(size: int) -> None:
    near, far = Channel.pair()
    other = Channel(far)
    memfd = sealed_memfd("test", b"content")
    messages.send(near, messages.ReloadFailed("x" * size), [memfd])
    os.close(memfd)
    received = messages.receive(other)
    assert received is not None
    message, descriptors = received
    assert message == messages.ReloadFailed("x" * size)
    assert read_memfd(descriptors[0]) == b"content"
    with pytest.raises(PermissionError):
        os.write(descriptors[0], b"!")
    os.close(descriptors[0])
    assert messages.receive(other) is None
    near.close()
    with pytest.raises(ChannelClosed):
        messages.receive(other)
    other.close()


def test_what_does_not_fit_waits_and_keeps_its_order() -> None:
    near, far = Channel.pair()
    other = Channel(far)
    for number in range(3000):
        messages.send(near, messages.Applied(number))
    found: list[messages.Message] = []
    while len(found) < 3000:
        near.flush()
        while (received := messages.receive(other)) is not None:
            found.append(received[0])
    assert found == [messages.Applied(number) for number in range(3000)]
    near.close()
    other.close()


def test_last_words_are_heard_though_ours_were_not() -> None:
    near, far = Channel.pair()
    other = Channel(far)
    messages.send(near, messages.Stop())
    messages.send(other, messages.Failure(78, "why"))
    other.close()
    received = messages.receive(near)
    assert received is not None
    assert received[0] == messages.Failure(78, "why")
    with pytest.raises(ChannelClosed):
        messages.receive(near)
    near.close()
