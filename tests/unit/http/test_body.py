"""Bodies of requests: whole, in pieces, malformed, too large."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.http.body import (
    CHUNKS_AT_A_TIME,
    MAX_EXTENSIONS,
    MAX_TRAILERS,
    ChunkedBody,
    SizedBody,
)
from mpchat.http.errors import HttpError

END = b"0\r\n\r\n"


def chunk(content: bytes, extension: bytes = b"") -> bytes:
    return b"%x%s\r\n%s\r\n" % (len(content), extension, content)


def read(*pieces: bytes, most: int = 1000) -> tuple[bytes, bytes] | None:
    """Return the content of a body and what stands behind it; None if it is incomplete."""
    body, data, is_whole = ChunkedBody(most), bytearray(), False
    for piece in pieces:
        data += piece
        if not is_whole:
            is_whole = body.take(data)
            while body.is_behind:
                is_whole = body.take(data)
    return (bytes(body.content), bytes(data)) if is_whole else None


def status_of(data: bytes, most: int = 1000) -> int:
    with pytest.raises(HttpError) as caught:
        read(data, most=most)
    return caught.value.status


EXTENSIONS = [b"", b";a", b";a=b", b' ; a\t=\t"b;\\"c" ;d', b';a="\xff";b=', b";"][:5]


@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=20), st.sampled_from(EXTENSIONS[:4]))),
    st.sampled_from([b"", b"X: y\r\n", b"X:\r\nY: \xff\t\r\n"]),
    st.binary(max_size=5),
    st.data(),
)
def test_pieces_make_no_difference(
    chunks: list[tuple[bytes, bytes]], trailers: bytes, rest: bytes, data: st.DataObject
) -> None:
    sent = b"".join(chunk(*one) for one in chunks) + b"0\r\n" + trailers + b"\r\n"
    cuts = sorted(data.draw(st.sets(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    pieces[-1] += rest
    assert read(*pieces) == (b"".join(content for content, _ in chunks), rest)


@pytest.mark.parametrize(
    "sent",
    [
        b"3\r\nabc\r\n0\r\n\r\n",
        b"0003\r\nabc\r\n000\r\n\r\n",
        b"A\r\n0123456789\r\n0;last\r\n\r\n",
        b"a\r\n0123456789\r\n0\r\nA: b\r\nC: d\r\n\r\n",
    ],
)
def test_whole(sent: bytes) -> None:
    found = read(sent)
    assert found is not None
    assert found[1] == b""


@pytest.mark.parametrize(
    "sent",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+3\r\nabc\r\n",
        b"0x3\r\nabc\r\n",
        b" 3\r\nabc\r\n",
        b"3 \r\nabc\r\n",
        b"3\nabc\n0\n\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3;\r\nabc\r\n",
        b"3;=b\r\nabc\r\n",
        b"3;a=\r\nabc\r\n",
        b'3;a="b\r\nabc\r\n',
        b"3;a=b c\r\nabc\r\n",
        b"3 a\r\nabc\r\n",
        b"3;a\nb\r\nabc\r\n",
        b"3;a\rb\r\nabc\r\n",
        b"3;a\0\r\nabc\r\n",
        b"1_0\r\n",
        b"\xd9\xa3\r\nabc\r\n",
        b"00000000000000003\r\nabc\r\n",
        b"0\r\nX\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"0\r\n X: y\r\n\r\n",
        b"0\r\nX: y\n\r\n\r\n",
        b"0\r\nX: y\r\n\n",
        b"0\r\nX: a\0b\r\n\r\n",
        b"0\n\r\n",
        b"0\r\n\n",
    ],
)
def test_malformed(sent: bytes) -> None:
    assert status_of(sent) == 400
    # Byte by byte as well, and never later.
    with pytest.raises(HttpError) as caught:
        read(*(bytes([byte]) for byte in sent))
    assert caught.value.status == 400


def test_what_is_not_over_is_waited_for() -> None:
    whole = chunk(b"abc", b";a=b") + b"0\r\nX: y\r\n\r\n"
    for cut in range(len(whole)):
        assert read(whole[:cut]) is None, whole[:cut]


def test_too_large() -> None:
    assert read(chunk(b"x" * 10) + END, most=10) == (b"x" * 10, b"")
    assert status_of(chunk(b"x" * 11), most=10) == 413
    # Of what is announced nothing has to come.
    assert status_of(b"B\r\n", most=10) == 413
    assert status_of(b"ffffffffffffffff\r\n") == 413
    assert status_of(chunk(b"x" * 6) * 2, most=10) == 413


def test_what_is_no_content_has_limits() -> None:
    most = MAX_EXTENSIONS
    assert read(chunk(b"x", b";" + b"a" * (most - 1)) + END) == (b"x", b"")
    assert status_of(chunk(b"x", b";" + b"a" * 100) * 50) == 400
    assert status_of(b"1;" + b"a" * (most + 100)) == 400
    assert status_of(b"0\r\n" + b"X: y\r\n" * (MAX_TRAILERS // 6 + 1)) == 431
    assert status_of(b"0\r\n" + b"X: y\r\n" * (MAX_TRAILERS // 6 + 1) + b"\r\n") == 431
    # Whichever comes first decides, however the bytes are cut.
    for trailers, status in (
        (b"X\n: y" + b"y" * MAX_TRAILERS, 400),
        (b"X: y" + b"y" * MAX_TRAILERS + b"\n", 431),
    ):
        for pieces in ([trailers], [trailers[:100], trailers[100:]]):
            with pytest.raises(HttpError) as caught:
                read(b"0\r\n", *pieces)
            assert caught.value.status == status


def test_chunks_are_taken_a_number_at_a_time() -> None:
    body, data = ChunkedBody(1000), bytearray(chunk(b"x") * (2 * CHUNKS_AT_A_TIME + 1))
    for size, is_behind in ((1, True), (2, True), (2, False)):
        assert not body.take(data)
        assert len(body.content) == size * CHUNKS_AT_A_TIME + (not is_behind)
        assert body.is_behind is is_behind
    assert not data


def test_a_body_of_known_length() -> None:
    body, data = SizedBody(3), bytearray(b"a")
    assert not body.take(data)
    data += b"bcd"
    assert body.take(data)
    assert (bytes(body.content), bytes(data)) == (b"abc", b"d")
