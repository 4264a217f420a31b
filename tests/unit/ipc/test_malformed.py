"""What a confused process may write on its channel: each packet is a message, or is named and refused."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.ipc import messages
from mpchat.ipc.channel import Channel, ChannelClosed, MalformedMessage
from mpchat.linux.memfd import sealed_memfd
from tests.kit.descriptors import descriptors_open

KINDS = [cls.__name__ for cls in get_args(messages.Message)]
ROLES = (
    messages.FROM_TEMPLATE,
    messages.FROM_MONITOR,
    messages.FROM_BROKER,
    messages.FROM_WORKER,
)


@pytest.fixture
def pair() -> Iterator[tuple[Channel, socket.socket]]:
    near, far = Channel.pair()
    yield near, far
    near.close()
    far.close()


def put(far: socket.socket, packet: bytes, descriptors: tuple[int, ...] = ()) -> None:
    rights = array.array("i", descriptors)
    far.sendmsg([packet], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else [])


@pytest.mark.parametrize(
    "packet",
    [
        b"hello",
        b"[]",
        b"\xff",
        b'{"kind": 1}',
        b'{"kind": "Nope"}',
        b'{"kind": "Hello"}',
        b'{"kind": "Hello", "pid": "x"}',
        b'{"kind": "Hello", "pid": true}',
        b'{"kind": "Hello", "pid": 1, "more": 1}',
        b'{"kind": "Applied", "number": 1e400}',
        b'{"kind": "Applied", "number": 99999999999999999999}',
        b'{"kind": "Snapshot", "stop_limit": NaN}',
        b"[" * 50_000,
        b"1" * 5000,
        b"memfd",
    ],
)
def test_what_is_no_message_is_refused_and_the_next_one_is_read(
    pair: tuple[Channel, socket.socket], packet: bytes
) -> None:
    near, far = pair
    put(far, packet)
    put(far, json.dumps({"kind": "Hello", "pid": 7}).encode())
    with pytest.raises(MalformedMessage):
        messages.receive(near)
    assert messages.receive(near) == (messages.Hello(7), [])


def test_a_packet_beyond_the_size_is_refused(pair: tuple[Channel, socket.socket]) -> None:
    near, far = pair
    put(far, b" " * 70_000)
    with pytest.raises(MalformedMessage, match="longer than"):
        messages.receive(near)


def test_a_memfd_that_its_sender_could_still_change_is_refused(
    pair: tuple[Channel, socket.socket], tmp_path: Path
) -> None:
    near, far = pair
    body = json.dumps({"kind": "Hello", "pid": 7}).encode()
    plain = os.memfd_create("plain")
    os.write(plain, body)
    (tmp_path / "file").write_bytes(body)
    file = os.open(tmp_path / "file", os.O_RDONLY)
    for descriptor in (plain, file):
        put(far, b"memfd", (descriptor,))
        with pytest.raises(MalformedMessage):
            messages.receive(near)
        os.close(descriptor)
    sealed = sealed_memfd("sealed", body)
    put(far, b"memfd", (sealed,))
    os.close(sealed)
    assert messages.receive(near) == (messages.Hello(7), [])


def test_what_is_refused_leaves_no_descriptor_open(pair: tuple[Channel, socket.socket]) -> None:
    near, far = pair
    before = descriptors_open()
    some = os.memfd_create("some")
    for packet in (b"nonsense", b'{"kind": "Hello", "pid": 1}', b"memfd", b'{"kind": "Ready"}'):
        put(far, packet, (some, some, some))
        with pytest.raises(MalformedMessage):
            messages.receive_from(near, messages.FROM_WORKER)
    os.close(some)
    assert descriptors_open() == before


def test_a_child_may_send_what_is_its_to_send_and_nothing_else(
    pair: tuple[Channel, socket.socket],
) -> None:
    near, far = pair
    for role in ROLES:
        for cls in get_args(messages.Message):
            values = {item.name: _SOME[str(item.type).partition("[")[0]] for item in fields(cls)}
            put(far, json.dumps({"kind": cls.__name__, **values}).encode())
            if cls in role:
                received = messages.receive_from(near, role)
                assert received is not None
                assert isinstance(received[0], cls)
            else:
                with pytest.raises(MalformedMessage, match="may not send"):
                    messages.receive_from(near, role)


_SOME: dict[str, Any] = {
    "int": 1,
    "float": 1.5,
    "str": "text",
    "bool": True,
    "str | None": None,
    "int | None": None,
    "float | None": None,
    "dict": {},
    "list": [],
    "list[str]": [],
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(
    st.binary(max_size=200)
    | st.builds(
        lambda kind, body: json.dumps({**body, "kind": kind}).encode(),
        st.sampled_from(KINDS) | st.text(),
        st.dictionaries(
            st.sampled_from(["pid", "number", "text", "slot", "verb", "arguments"]) | st.text(),
            json_values,
        ),
    )
)
def test_no_packet_does_anything_but_be_read_or_refused(packet: bytes) -> None:
    near, far = Channel.pair()
    try:
        put(far, packet)
        try:
            received = messages.receive(near)
        except (MalformedMessage, ChannelClosed):
            return
        assert received is not None
        # What is read can be sent again: its values are those that its class names.
        messages.send(near, received[0])
        assert asdict(received[0]) is not None
    finally:
        near.close()
        far.close()


def test_the_kernel_tells_who_sent_a_message(pair: tuple[Channel, socket.socket]) -> None:
    near, far = pair
    put(far, json.dumps({"kind": "Hello", "pid": 1}).encode())
    assert messages.receive(near) == (messages.Hello(1), [])
    assert near.sender == os.getpid()
