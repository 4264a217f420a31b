"""Requests with bodies by RFC 9110 and 9112, among them those with which others are smuggled.

A server that reads the end of a body elsewhere than the proxy before it takes the rest for a request of
somebody else. Each case is as in ``requests``; where the answer does not close the connection, the tests
send another request behind it.
"""

from __future__ import annotations

from tests.kit.requests import CHAT, PING, Case, plain, shake

END = b"0\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"


def chunked(body: bytes, *more: str, coding: str = "chunked") -> bytes:
    """Return a plain request with a body in chunks."""
    return plain(PING, f"Transfer-Encoding: {coding}", *more) + body


LENGTHS = [
    Case("9112 6.2: no body", shake(CHAT, "Content-Length: 0"), 101),
    Case("6455 4.1: a body", shake(CHAT, "Content-Length: 5") + b"hello", 400),
    Case("6455 4.1: a body to come", shake(CHAT, "Content-Length: 5"), 400),
    Case("6455 4.1: a large body", shake(CHAT, "Content-Length: 9999999999"), 400),
    Case("6455 4.1: a coded body", shake(CHAT, "Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    Case("6455 4.1: coded, in any way", shake(CHAT, "Transfer-Encoding: gzip, chunked"), 400),
    Case("9112 6.3: coded without an end", plain(PING, "Transfer-Encoding: gzip"), 400),
    Case("9112 6.3: coded, empty", plain(PING, "Transfer-Encoding:"), 400),
    Case("9112 6.1: chunked twice", plain(PING, "Transfer-Encoding: chunked, chunked"), 400),
    Case("9112 6.1: an unknown coding", plain(PING, "Transfer-Encoding: br, chunked"), 501),
    Case(
        "9112 6.1: both",
        plain(PING, "Content-Length: 5", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
        400,
    ),
    Case(
        "9112 6.1: coded with HTTP/1.0",
        plain("GET /ping HTTP/1.0", "Transfer-Encoding: chunked"),
        400,
    ),
    Case("9112 6.2: a body", plain(PING, "Content-Length: 5") + b"hello", 200),
    Case("9110 8.6: two lengths", plain(PING, "Content-Length: 5", "Content-Length: 6"), 400),
    Case("9110 8.6: the same twice", plain(PING, "Content-Length: 5, 5") + b"hello", 400),
    Case("9110 8.6: a sign", plain(PING, "Content-Length: +5") + b"hello", 400),
    Case("9110 8.6: below zero", plain(PING, "Content-Length: -5"), 400),
    Case("9110 8.6: hexadecimal", plain(PING, "Content-Length: 0x5") + b"hello", 400),
    Case("9110 8.6: empty", plain(PING, "Content-Length:"), 400),
    Case("9110 8.6: digits of another script", plain(PING, "Content-Length: \xb2"), 400),
    Case(
        "9110 8.6: a number too large for anything",
        plain(PING, "Content-Length: 1" + "0" * 5000),
        413,
    ),
    Case("9110 15.5.14: too large", plain(PING, "Content-Length: 1048577"), 413),
    Case("9110 10.1.1: an unknown expectation", plain(PING, "Expect: miracles"), 417),
    Case("9110 10.1.1: 100-continue without a body", plain(PING, "Expect: 100-continue"), 200),
    Case(
        "9110 10.1.1: 100-continue with HTTP/1.0",
        plain("GET /ping HTTP/1.0", "Expect: 100-continue", "Content-Length: 2") + b"hi",
        200,
    ),
]

CHUNKS = [
    Case("9112 7.1: no content", chunked(END), 200),
    Case("9112 7.1: a chunk", chunked(b"3\r\nabc\r\n" + END), 200),
    Case("9112 7.1: several", chunked(b"3\r\nabc\r\n1\r\nd\r\n" + END), 200),
    Case("9112 7.1: content that looks like an end", chunked(b"5\r\n" + END + b"\r\n" + END), 200),
    Case(
        "9112 7.1: letters of either case",
        chunked(b"A\r\n0123456789\r\na\r\n0123456789\r\n" + END),
        200,
    ),
    Case("9112 7.1: zeros before a size", chunked(b"0003\r\nabc\r\n0000\r\n\r\n"), 200),
    Case("9112 7.1.1: extensions", chunked(b'3;a;b=c ; d="e;\\"f"\r\nabc\r\n0;g\r\n\r\n'), 200),
    Case("9112 7.1.2: trailers", chunked(b"0\r\nX: y\r\nZ:\r\n\r\n"), 200),
    Case(
        "9112 7.1.2: trailers do not count",
        chunked(b"0\r\nConnection: close\r\nHost: x\r\n\r\n"),
        200,
    ),
    Case("9112 7: the name in any case", chunked(END, coding="CHUNKED"), 200),
    Case("9110 5.6.1: empty elements of a coding", chunked(END, coding=", chunked ,"), 200),
    Case(
        "9110 10.1.1: 100 before chunks", chunked(b"1\r\na\r\n" + END, "Expect: 100-continue"), 200
    ),
    Case(
        "9110 10.1.1: no 100 for what is refused",
        plain("POST /nowhere HTTP/1.1", "Expect: 100-continue", "Content-Length: 9"),
        404,
    ),
    Case(
        "9110 15.5.6: a body for a method that is not allowed",
        plain("POST /ping HTTP/1.1", "Transfer-Encoding: chunked") + b"zz\r\n",
        405,
    ),
    Case("9112 7.1: LF behind the size", chunked(b"3\nabc\r\n" + END), 400),
    Case("9112 7.1: LF behind the content", chunked(b"3\r\nabc\n" + END), 400),
    Case("9112 7.1: LF alone everywhere", chunked(b"3\nabc\n0\n\n"), 400),
    Case("9112 7.1: CR alone behind the size", chunked(b"3\rabc\r\n" + END), 400),
    Case("9112 7.1: no line end behind the content", chunked(b"3\r\nabc" + END), 400),
    Case("9112 7.1: two letters for the line end", chunked(b"3\r\nabcXX" + END), 400),
    Case("9112 7.1: more content than the size", chunked(b"3\r\nabcd\r\n" + END), 400),
    Case("9112 7.1: no size", chunked(b"\r\nabc\r\n" + END), 400),
    Case("9112 7.1: an extension for a size", chunked(b";a\r\n" + END), 400),
    Case("9112 7.1: a sign", chunked(b"+3\r\nabc\r\n" + END), 400),
    Case("9112 7.1: below zero", chunked(b"-1\r\n" + END), 400),
    Case("9112 7.1: a prefix", chunked(b"0x3\r\nabc\r\n" + END), 400),
    Case("9112 7.1: an underscore", chunked(b"1_0\r\n" + b"x" * 16 + b"\r\n" + END), 400),
    Case("9112 7.1: a space before the size", chunked(b" 3\r\nabc\r\n" + END), 400),
    Case("9112 7.1: a space behind the size", chunked(b"3 \r\nabc\r\n" + END), 400),
    Case("9112 7.1: a tab behind the size", chunked(b"3\t\r\nabc\r\n" + END), 400),
    Case("9112 7.1: NUL behind the size", chunked(b"3\0\r\nabc\r\n" + END), 400),
    Case("9112 7.1: digits of another script", chunked("\u0663\r\nabc\r\n".encode() + END), 400),
    Case("9112 7.1: a size of 17 digits", chunked(b"0" * 16 + b"3\r\nabc\r\n" + END), 400),
    Case(
        "9112 7.1: a size that wraps 64 bits", chunked(b"10000000000000003\r\nabc\r\n" + END), 400
    ),
    Case(
        "9112 7.1: a size that wraps when signed",
        chunked(b"ffffffffffffffff\r\nabc\r\n" + END),
        413,
    ),
    Case("9110 15.5.14: a chunk too large", chunked(b"100001\r\n"), 413),
    Case(
        "9110 15.5.14: too large together",
        chunked((b"80000\r\n" + b"x" * 0x80000 + b"\r\n") * 2 + b"1\r\n"),
        413,
    ),
    Case("9112 7.1.1: an empty extension", chunked(b"3;\r\nabc\r\n" + END), 400),
    Case(
        "9112 7.1.1: LF in an extension",
        chunked(b"2;\nxx\r\n4c\r\n0\r\n\r\n" + SMUGGLED + END),
        400,
    ),
    Case("9112 7.1.1: CR in an extension", chunked(b"2;a\rb\r\nxx\r\n" + END), 400),
    Case("9112 7.1.1: LF in a quoted value", chunked(b'2;a="\n"\r\nxx\r\n' + END), 400),
    Case("9112 7.1.1: a quotation mark without an end", chunked(b'2;a="\r\nxx\r\n' + END), 400),
    Case("9112 7.1.1: a control character", chunked(b"2;a=\x01\r\nxx\r\n" + END), 400),
    Case("9112 7.1.1: too long", chunked(b"1;" + b"a" * 4200 + b"\r\na\r\n" + END), 400),
    Case("9112 7.1.1: too long together", chunked(b"1;aaaaaaa\r\na\r\n" * 600 + END), 400),
    Case("9112 7.1.2: LF alone at the end", chunked(b"0\r\n\n"), 400),
    Case("9112 7.1.2: LF behind the last chunk", chunked(b"0\n\r\n"), 400),
    Case("9112 7.1.2: LF behind a trailer", chunked(b"0\r\nX: y\n\r\n"), 400),
    Case("9112 7.1.2: a trailer without a colon", chunked(b"0\r\nX\r\n\r\n"), 400),
    Case("9112 7.1.2: a request for a trailer", chunked(b"0\r\n" + SMUGGLED), 400),
    Case("9112 7.1.2: a space before the colon", chunked(b"0\r\nX : y\r\n\r\n"), 400),
    Case("9112 7.1.2: a folded trailer", chunked(b"0\r\nX: y\r\n z\r\n\r\n"), 400),
    Case("9112 7.1.2: too many trailers", chunked(b"0\r\n" + b"X: y\r\n" * 2000 + b"\r\n"), 431),
    Case("9112 7.1.2: trailers without an end", chunked(b"0\r\n" + b"X: y\r\n" * 2000), 431),
    Case("9112 6.1: another name", chunked(END, coding="xchunked"), 400),
    Case("9112 6.1: another name behind", chunked(END, coding="chunkedx"), 400),
    Case("9112 6.1: quoted", chunked(END, coding='"chunked"'), 400),
    Case("9112 6.1: a parameter", chunked(END, coding="chunked;a=b"), 400),
    Case("9112 6.1: a form feed before the name", chunked(END, coding="\x0cchunked"), 400),
    Case("9112 6.1: a list of two", chunked(END, coding="chunked, identity"), 400),
    Case("9112 6.1: chunked last", chunked(END, coding="identity, chunked"), 501),
    Case("9112 6.1: in two lines", chunked(END, "Transfer-Encoding: chunked"), 400),
    Case("9112 6.1: another in the second line", chunked(END, "Transfer-Encoding: x"), 400),
    Case(
        "9112 5.1: a space before the colon of a coding",
        plain(PING, "Transfer-Encoding : chunked") + END,
        400,
    ),
    Case(
        "9112 5.2: in a folded line", plain(PING, "X: y", " Transfer-Encoding: chunked") + END, 400
    ),
    Case("9112 6.1: a length behind it", chunked(END, "Content-Length: 5"), 400),
    Case("9112 6.1: a length of nothing", chunked(END, "Content-Length: 0"), 400),
    Case(
        "9112 6.1: HTTP/1.0", plain("POST /ping HTTP/1.0", "Transfer-Encoding: chunked") + END, 400
    ),
]

BODIES = [*LENGTHS, *CHUNKS]
