"""permessage-deflate (RFC 7692): what is agreed on, what goes over the wire, what is refused."""

from __future__ import annotations

import asyncio
import os
import re
import zlib
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosedError
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from mpchat.testsuite.clients import WebsocketClient
from tests.docs.pages import ROOT, blocks
from tests.functional.conftest import Serve
from tests.kit.frames import BINARY, CONT, FINAL, PING, TEXT, frame
from tests.kit.raw import handshake

pytestmark = pytest.mark.shared_service

OPTION = "websocket-handler.permessage-deflate"
RSV1, RSV2 = 0x40, 0x20
END = b"\x00\x00\xff\xff"
"""What the end of each compressed message leaves out."""
BROWSER = "permessage-deflate; client_max_window_bits"
"""What Chrome and Firefox offer."""
REPEATED = "text that repeats itself " * 40
MESSAGES: list[str | bytes] = [
    "",
    "päivää ✓",
    REPEATED,
    REPEATED,
    os.urandom(5_000),
    bytes(90_000),
    "x" * 99,
]


async def connect(
    port: int, *offers: str
) -> tuple[str | None, asyncio.StreamReader, asyncio.StreamWriter]:
    """Return what was agreed on, and the connection."""
    reader, writer = await asyncio.open_connection("localhost", port)
    writer.write(handshake("/chat", *(f"Sec-WebSocket-Extensions: {offer}" for offer in offers)))
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert head.startswith("HTTP/1.1 101 ")
    found = re.findall(r"^sec-websocket-extensions: (.*)\r$", head, re.MULTILINE | re.IGNORECASE)
    assert len(found) <= 1
    return (found[0] if found else None), reader, writer


async def closed_with(reader: asyncio.StreamReader) -> int:
    """Read to the end; return the code of the Close, which has to be all that comes."""
    received = await asyncio.wait_for(reader.read(), 30)
    assert received[:1] == b"\x88"
    return int.from_bytes(received[2:4])


async def agreed(port: int, *offers: str) -> str | None:
    extensions, _reader, writer = await connect(port, *offers)
    writer.close()
    await writer.wait_closed()
    return extensions


@pytest.mark.covers("WebsocketOptions.permessage-deflate")
async def test_a_client_of_websockets(serve: Serve) -> None:
    with serve({OPTION: True}) as service:
        async with WebsocketClient(service.port).get("chat") as chat:
            assert [extension.name for extension in chat.protocol.extensions] == [
                "permessage-deflate"
            ]
            for message in MESSAGES:
                await chat.send(message)
            assert [await chat.recv() for _ in MESSAGES] == MESSAGES
            await chat.send(["frag", "ment", "ed"])
            assert await chat.recv() == "fragmented"
        await asyncio.to_thread(the_page_shows_what_was_agreed, service.port)


def the_page_shows_what_was_agreed(port: int) -> None:
    (code,) = [
        block.text
        for block in blocks((ROOT / "docs" / "compression.md").read_text())
        if block.language == "python"
    ]
    printed: list[object] = []
    exec(code.replace("8080", str(port)), {"print": printed.append})
    assert printed == ["permessage-deflate; client_max_window_bits=12"]


OFFERS: list[tuple[list[str], str | None]] = [
    # Who has not asked for our window is not told it: some refuse what they have not offered.
    ([BROWSER], "permessage-deflate; client_max_window_bits=12"),
    (["permessage-deflate"], "permessage-deflate"),
    (
        ["permessage-deflate; server_no_context_takeover; client_no_context_takeover"],
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
    ),
    (
        ["permessage-deflate; server_max_window_bits=10; client_max_window_bits=9"],
        "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9",
    ),
    (
        ["permessage-deflate; server_max_window_bits=15; client_max_window_bits=15"],
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
    ),
    # Some compressors of ours could not keep to 256 bytes; a client's we can read.
    (["permessage-deflate; server_max_window_bits=8"], None),
    (
        ["permessage-deflate; client_max_window_bits=8"],
        "permessage-deflate; client_max_window_bits=8",
    ),
    # 7.1.2: what a rule forbids is declined...
    (["permessage-deflate; server_max_window_bits"], None),
    (["permessage-deflate; server_max_window_bits=16"], None),
    (["permessage-deflate; client_max_window_bits=09"], None),
    (["permessage-deflate; server_no_context_takeover=1"], None),
    (["permessage-deflate; client_max_window_bits; client_max_window_bits=10"], None),
    (["permessage-deflate; unheard_of"], None),
    (["x-webkit-deflate-frame"], None),
    # ...and the next offer is looked at, be it in another line; the first good one counts.
    (
        ["permessage-deflate; server_max_window_bits=8, permessage-deflate"],
        "permessage-deflate",
    ),
    (
        ["x-other", "permessage-deflate; server_max_window_bits=9", "permessage-deflate"],
        "permessage-deflate; server_max_window_bits=9",
    ),
    (
        ['permessage-deflate; server_max_window_bits="9"'],
        "permessage-deflate; server_max_window_bits=9",
    ),
]


async def test_offers(serve: Serve) -> None:
    with serve({OPTION: True}) as service:
        for offers, expected in OFFERS:
            assert await agreed(service.port, *offers) == expected, offers


def deflated(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-12)
    return (stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


MISTAKES = [
    (1009, [frame(FINAL | RSV1 | BINARY, deflated(bytes(100_001)))]),
    (
        1009,
        [
            frame(RSV1 | BINARY, deflated(bytes(60_000)) + END),
            frame(FINAL | CONT, deflated(bytes(60_000))),
        ],
    ),
    # More than any message of the allowed size needs.
    (1009, [frame(FINAL | RSV1 | BINARY, b"", length=120_000)]),
    (1002, [frame(FINAL | RSV1 | BINARY, b"\xff" * 20)]),
    (1007, [frame(FINAL | RSV1 | TEXT, deflated(b"\xff"))]),
    (1007, [frame(RSV1 | TEXT, deflated(b"\xff"))]),
    # RFC 7692, 6.1: RSV1 stands in the first frame of a message, and in no control frame.
    (1002, [frame(RSV1 | TEXT, b"\x00"), frame(FINAL | RSV1 | CONT, b"\x00")]),
    (1002, [frame(TEXT, b"a"), frame(FINAL | RSV1 | CONT, b"\x00")]),
    (1002, [frame(FINAL | RSV1 | PING, b"\x00")]),
    (1002, [frame(FINAL | RSV1 | RSV2 | TEXT, b"\x00")]),
]


async def test_mistakes(serve: Serve) -> None:
    with serve({OPTION: True}) as service:
        for code, frames in MISTAKES:
            _extensions, reader, writer = await connect(service.port, BROWSER)
            writer.write(b"".join(frames))
            assert await closed_with(reader) == code, frames
            writer.close()


async def test_a_message_of_the_largest_size_passes(serve: Serve) -> None:
    with serve({OPTION: True}) as service:
        async with WebsocketClient(service.port).get("chat") as chat:
            for message in (os.urandom(100_000), bytes(100_000)):
                await chat.send(message)
                assert await chat.recv() == message
            await chat.send(bytes(100_001))
            with pytest.raises(ConnectionClosedError):
                await chat.recv()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        pytest.param(
            {"server-no-context-takeover": True},
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=12; "
            "client_max_window_bits=12",
            marks=pytest.mark.covers("DeflateOptions.server-no-context-takeover"),
        ),
        pytest.param(
            {"client-no-context-takeover": True},
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=12; "
            "client_max_window_bits=12",
            marks=pytest.mark.covers("DeflateOptions.client-no-context-takeover"),
        ),
        pytest.param(
            {"server-max-window-bits": 9},
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=12",
            marks=pytest.mark.covers("DeflateOptions.server-max-window-bits"),
        ),
        pytest.param(
            {"client-max-window-bits": 15},
            "permessage-deflate; server_max_window_bits=12; client_max_window_bits=15",
            marks=pytest.mark.covers("DeflateOptions.client-max-window-bits"),
        ),
        (False, None),
    ],
)
async def test_options(serve: Serve, options: dict[str, Any] | bool, expected: str | None) -> None:
    with serve({OPTION: options}) as service:
        assert await agreed(service.port, f"{BROWSER}; server_max_window_bits=15") == expected
        extension = ClientPerMessageDeflateFactory(client_max_window_bits=True)
        client = WebsocketClient(service.port)
        async with client.get("chat", compression=None, extensions=[extension]) as chat:
            for message in MESSAGES:
                await chat.send(message)
            assert [await chat.recv() for _ in MESSAGES] == MESSAGES


async def test_what_goes_over_the_wire(serve: Serve) -> None:
    # Fragments are those of the compressed payload; RSV1 stands in the first one alone (RFC 7692, 6.1).
    with serve({OPTION: True, "websocket-handler.fragment-size": 100}) as service:
        _extensions, reader, writer = await connect(service.port, BROWSER)
        digits = b"".join(b"%d" % number for number in range(500))
        deflater = zlib.compressobj(wbits=-12)
        sent = deflater.compress(digits) + deflater.flush(zlib.Z_SYNC_FLUSH)
        writer.write(frame(FINAL | RSV1 | BINARY, sent[:-4]))
        writer.write(frame(FINAL | TEXT, b"short"))
        firsts, payload, final = [], b"", False
        while not final:
            first, length = await reader.readexactly(2)
            firsts.append(first)
            payload += await reader.readexactly(length)
            final = first >= 0x80
        assert firsts == [0x42, *[0x00] * (len(firsts) - 2), 0x80]
        assert len(firsts) == -(-len(payload) // 100) > 2
        assert zlib.decompressobj(-12).decompress(payload + END) == digits
        assert await reader.readexactly(7) == b"\x81\x05short"
        writer.close()


async def test_it_is_off_by_default(serve: Serve) -> None:
    with serve({}) as service:
        extensions, reader, writer = await connect(service.port, BROWSER)
        assert extensions is None
        writer.write(frame(FINAL | RSV1 | TEXT, b"\x00"))
        assert await closed_with(reader) == 1002
        writer.close()
