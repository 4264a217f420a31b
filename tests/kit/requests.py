"""Requests by the rules of RFC 9110 (HTTP), 9112 (HTTP/1.1), 6454 (origins) and 6455 (WebSocket).

Each case is what a client sends on a connection of its own, and what it has to be told. The unit tests
ask the pure functions, the functional ones a service by bare sockets. Served are WebSockets on ``/chat``
and ``/rooms/{room}``, plain HTTP on ``/ping``, all with GET.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

KEY = base64.b64encode(b"0123456789abcdef").decode()
FIELDS = {
    "Host": "localhost",
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
CHAT = "GET /chat HTTP/1.1"
PING = "GET /ping HTTP/1.1"
MAX_URL_SIZE, MAX_HEADERS_SIZE = 8192, 65536


@dataclass(frozen=True)
class Case:
    """Bytes and the status that answers them, with headers that the answer must have."""

    name: str
    data: bytes
    status: int
    headers: dict[str, str] = field(default_factory=dict)


def shake(line: str = CHAT, *more: str, **fields: str | None) -> bytes:
    """Return a handshake with fields changed (``sec_websocket_key="x"``) or, by None, left out."""
    changed: dict[str, str | None] = dict(FIELDS)
    names = {name.lower().replace("-", "_"): name for name in FIELDS}
    for name, value in fields.items():
        changed[names[name]] = value
    lines = [line, *(f"{name}: {value}" for name, value in changed.items() if value is not None)]
    return "".join(f"{item}\r\n" for item in (*lines, *more, "")).encode("latin-1")


def plain(line: str = PING, *more: str, host: str | None = "localhost") -> bytes:
    """Return a request without an upgrade."""
    lines = [line, *([] if host is None else [f"Host: {host}"]), *more, ""]
    return "".join(f"{item}\r\n" for item in lines).encode("latin-1")


def target(value: str) -> bytes:
    """Return a handshake for this target."""
    return shake(f"GET {value} HTTP/1.1")


SPACED = b": \t ".join(shake().split(b": ")).replace(b"websocket\r\n", b"websocket \t\r\n")
V13 = {"Sec-WebSocket-Version": "13", "Upgrade": "websocket"}

REQUEST_LINES = [
    Case("9112 3: a handshake", shake(), 101),
    Case("9112 3: a plain request", plain(), 200),
    Case("9112 2.2: an empty line before the request", b"\r\n" + shake(), 101),
    Case("9112 2.2: a few empty lines", b"\r\n" * 4 + shake(), 101),
    Case("9112 2.2: many empty lines", b"\r\n" * 5 + shake(), 400),
    Case("9112 2.2: nothing but empty lines", b"\r\n" * 5, 400),
    Case("9112 3: two spaces", shake("GET  /chat HTTP/1.1"), 400),
    Case("9112 3: a tab for a space", shake("GET\t/chat HTTP/1.1"), 400),
    Case("9112 3: a space at the end", shake("GET /chat HTTP/1.1 "), 400),
    Case("9112 3: a space at the beginning", shake(" GET /chat HTTP/1.1"), 400),
    Case("9112 3: a fourth word", shake("GET /chat x HTTP/1.1"), 400),
    Case("9112 3: no target", shake("GET HTTP/1.1"), 400),
    Case("9112 3: a form feed", shake("GET /chat\x0c HTTP/1.1"), 400),
    Case("9112 3: no version (HTTP/0.9)", b"GET /chat\r\n", 400),
    Case("9112 2.2: space before the first field", shake(CHAT + "\r\n X: y"), 400),
    Case("9110 9.1: an unknown method", shake("BREW /chat HTTP/1.1"), 501),
    Case("9110 9.1: methods have a case", shake("get /chat HTTP/1.1"), 501),
    Case("9112 3: a method longer than any", shake("G" * 9000 + " /chat HTTP/1.1"), 501),
    Case("9110 9.1: no token for a method", shake("G@T /chat HTTP/1.1"), 400),
    Case("6455 4.1: POST", shake("POST /chat HTTP/1.1"), 405, {"Allow": "GET, HEAD, OPTIONS"}),
    Case(
        "9110 15.5.6: DELETE", plain("DELETE /ping HTTP/1.1"), 405, {"Allow": "GET, HEAD, OPTIONS"}
    ),
    Case(
        "9110 9.3.7: OPTIONS", plain("OPTIONS /ping HTTP/1.1"), 204, {"Allow": "GET, HEAD, OPTIONS"}
    ),
    Case("9110 9.3.8: TRACE", plain("TRACE /ping HTTP/1.1"), 405, {"Allow": "GET, HEAD, OPTIONS"}),
    Case("9110 9.3.2: HEAD", plain("HEAD /ping HTTP/1.1"), 200),
    Case("6455 4.1: HEAD", shake("HEAD /chat HTTP/1.1"), 405, {"Allow": "GET"}),
    Case("9110 15.5.5: nothing there", shake("GET /nowhere HTTP/1.1"), 404),
    Case("9110 15.5.5: nothing there, plain", plain("GET /nowhere HTTP/1.1"), 404),
]

VERSIONS = [
    Case("9110 6.2: a higher minor version", shake("GET /chat HTTP/1.2"), 101),
    Case("9110 6.2: the highest minor version", plain("GET /ping HTTP/1.9"), 200),
    Case("9112 2.3: HTTP/1.0", plain("GET /ping HTTP/1.0", host=None), 200),
    Case("9110 7.8: HTTP/1.0 has no Upgrade", shake("GET /chat HTTP/1.0"), 426, V13),
    Case("9110 7.8: HTTP/1.0 has no Upgrade, plain", shake("GET /ping HTTP/1.0"), 200),
    Case("9110 15.6.6: HTTP/2.0", shake("GET /chat HTTP/2.0"), 505),
    Case("9110 15.6.6: HTTP/3.0", shake("GET /chat HTTP/3.0"), 505),
    Case("9110 15.6.6: HTTP/0.9 by name", shake("GET /chat HTTP/0.9"), 505),
    Case("9112 2.3: the name has a case", shake("GET /chat http/1.1"), 400),
    Case("9112 2.3: one digit each", shake("GET /chat HTTP/1.10"), 400),
    Case("9112 2.3: two digits", shake("GET /chat HTTP/1"), 400),
    Case("9112 2.3: a point", shake("GET /chat HTTP/1,1"), 400),
    Case("9112 2.3: another protocol", shake("GET /chat RTSP/1.0"), 400),
    Case("9113 3.4: an HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    Case("9112 3: TLS with line ends in it", b"\x16\x03\x01\r\n\r\n", 400),
    Case("9112 3: PROXY, version 1", b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + shake(), 400),
    Case("9112 3: PROXY UNKNOWN", b"PROXY UNKNOWN\r\n" + shake(), 400),
    Case(
        "9112 3: PROXY, version 2",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + shake(),
        400,
    ),
    Case("9112 3: SSH", b"SSH-2.0-OpenSSH_9.6\r\n", 400),
    Case("9112 3: SOCKS", b"\x05\x01\x00", 400),
]

TARGETS = [
    Case("9112 3.2.1: a query", target("/chat?token=%20a&b"), 101),
    Case("9112 3.2.1: a query of what browsers leave", target("/chat?a[1]={b}|c^`100%"), 101),
    Case("9112 3.2.1: an empty query", target("/chat?"), 101),
    Case("9112 3.2.1: no slash", target("chat"), 400),
    Case("9112 3.2.1: two slashes are another path", target("//chat"), 404),
    Case("9112 3.2.1: quotation marks", target('/chat"'), 400),
    Case("9112 3.2.1: a backslash", target("\\chat"), 400),
    Case("9112 3.2.1: a backslash in the path", target("/rooms\\a"), 400),
    Case("9112 3.2.1: a query as it was typed", target('/chat?<a>="\xc3\xbc"&\xff'), 101),
    Case("9112 3.2.1: a control character in the query", target("/chat?a\x1bb"), 400),
    Case("9112 3.2.1: DEL in the query", target("/chat?\x7f"), 400),
    Case("9112 3.2.1: a space in the query", target("/chat?a b"), 400),
    Case("9112 3.2.1: UTF-8 in the path", target("/ch\xc3\xa4t?a"), 400),
    Case(
        "9112 3.2.2: absolute, and a query as it was typed", target('http://localhost/chat?"'), 101
    ),
    Case("9110 4.2: beyond ASCII in a host", target("http://loc\xe4lhost/chat?a"), 400),
    Case("9112 3.2.1: beyond ASCII", target("/ch\xe4t"), 400),
    Case("9112 3.2.1: DEL", target("/chat\x7f"), 400),
    Case("9112 3.2.1: NUL", target("/chat\0"), 400),
    Case("6455 3: a fragment", target("/chat#part"), 400),
    Case("6455 3: a fragment in the query", target("/chat?a#b"), 400),
    Case("3986 6.2.2.2: an unreserved character encoded", target("/ch%61t"), 101),
    Case("3986 6.2.2.1: hexadecimal in any case", target("/%63hat"), 101),
    Case("3986 2.2: a reserved one is another path", target("/%2Fchat"), 404),
    Case("3986 2.2: a slash encoded is no end of a path", target("/chat%2f"), 404),
    Case("3986 2.1: no hexadecimal", target("/ch%6"), 400),
    Case("3986 2.1: no hexadecimal at all", target("/chat%zz"), 400),
    Case("3986 2.1: % at the end", target("/chat%"), 400),
    Case("3986 7.3: NUL encoded", target("/chat%00"), 400),
    Case("3986 2.1: no UTF-8", target("/rooms/%ff"), 101),
    Case("3986 6.2.2.3: a dot segment", target("/./chat"), 101),
    Case("3986 6.2.2.3: two dots", target("/x/../chat"), 101),
    Case("3986 6.2.2.3: dots encoded", target("/x/%2e%2E/chat"), 101),
    Case("3986 5.2.4: nothing above the root", target("/../../chat"), 101),
    Case("3986 5.2.4: nor beside it", target("/../../etc/passwd"), 404),
    Case("3986 5.2.4: dots at the end", target("/chat/.."), 404),
    Case("3986 5.2.4: no parameter is made of dots", target("/rooms/.."), 404),
    Case("3986 5.2.4: three dots are a name", target("/rooms/..."), 101),
    Case("9112 3.2.2: absolute", target("http://localhost/chat"), 101),
    Case("9112 3.2.2: absolute, https", target("https://localhost:443/chat?a"), 101),
    Case("9112 3.2.2: absolute, in any case", target("HTTP://LOCALHOST/chat"), 101),
    Case("9112 3.2.2: another Host does not count", target("http://example.com/chat"), 101),
    Case("9112 3.2.2: an address", target("http://[::1]:8080/chat"), 101),
    Case("9112 3.2.2: an empty path", plain("GET http://localhost HTTP/1.1"), 404),
    Case("9112 3.2.2: an empty path with a query", plain("GET http://localhost?a HTTP/1.1"), 404),
    Case("9112 3.2.2: dots", target("http://localhost/x/../chat"), 101),
    Case(
        "9112 3.2.2: and Host all the same",
        shake("GET http://localhost/chat HTTP/1.1", host=None),
        400,
    ),
    Case("6455 4.1: ws is asked for as http", target("ws://localhost/chat"), 400),
    Case("9110 4.2: another scheme", target("ftp://localhost/chat"), 400),
    Case("9110 4.2.1: no host", target("http:///chat"), 400),
    Case("9110 4.2.1: a port alone", target("http://:80/chat"), 400),
    Case("9110 4.2.4: a name and a password", target("http://a:b@localhost/chat"), 400),
    Case("9110 4.2.1: no port", target("http://localhost:x/chat"), 400),
    Case("9110 4.2.1: no such port", target("http://localhost:65536/chat"), 400),
    Case("9112 3.2.2: a fragment", target("http://localhost/chat#a"), 400),
    Case("9112 3.2.4: * with GET", target("*"), 400),
    Case(
        "9112 3.2.4: * with OPTIONS",
        plain("OPTIONS * HTTP/1.1"),
        204,
        {"Allow": "GET, HEAD, OPTIONS"},
    ),
    Case("9112 3.2.3: authority with GET", target("localhost:80"), 400),
    Case("9112 3.2.3: CONNECT", plain("CONNECT localhost:80 HTTP/1.1"), 501),
    Case("9112 3.2.3: CONNECT without a port", plain("CONNECT localhost HTTP/1.1"), 400),
    Case("9112 3.2.3: CONNECT to a path", plain("CONNECT /chat HTTP/1.1"), 400),
]

HOSTS = [
    Case("9112 3.2: none", shake(host=None), 400),
    Case("9112 3.2: none, plain", plain(host=None), 400),
    Case("9112 3.2: two", shake(CHAT, "Host: localhost"), 400),
    Case("9112 3.2: two others", shake(CHAT, "Host: example.com"), 400),
    Case("9112 3.2: two with HTTP/1.0", plain("GET /ping HTTP/1.0", "Host: a"), 400),
    Case("9112 3.3: an empty one", shake(host=""), 400),
    Case("9110 7.2: a port", shake(host="localhost:8080"), 101),
    Case("9110 7.2: an empty port", shake(host="localhost:"), 101),
    Case("9110 7.2: IPv6", shake(host="[::1]:8080"), 101),
    Case("9110 7.2: IPv4", shake(host="127.0.0.1"), 101),
    Case("9110 7.2: a name of any registry", shake(host="a_b.example~1"), 101),
    Case("9110 7.2: no such address", shake(host="[::1::2]"), 400),
    Case("9110 7.2: an address without brackets", shake(host="::1"), 400),
    Case("9110 7.2: a bracket alone", shake(host="[::1"), 400),
    Case("9110 7.2: a space", shake(host="local host"), 400),
    Case("9110 7.2: a slash", shake(host="localhost/chat"), 400),
    Case("9110 7.2: a name before it", shake(host="user@localhost"), 400),
    Case("9110 7.2: a list", shake(host="localhost, example.com"), 400),
    Case("9110 7.2: no port", shake(host="localhost:http"), 400),
    Case("9110 7.2: no such port", shake(host="localhost:99999"), 400),
    Case("9110 7.2: a port alone", shake(host=":80"), 400),
    Case("9110 7.2: a query", shake(host="localhost?a"), 400),
    Case("9110 7.2: beyond ASCII", shake(host="l\xf6calhost"), 400),
    Case("9110 7.2: an invalid one, plain", plain(host="a b"), 400),
]

FIELD_LINES = [
    Case("9112 5.1: no space is needed", shake().replace(b": ", b":"), 101),
    Case(
        "9112 5.1: space around the value",
        SPACED,
        101,
    ),
    Case("9110 5.1: names in any case", shake().replace(b"Sec-WebSocket", b"sEC-wEBSOCKET"), 101),
    Case("9112 5.1: a space before the colon", shake(CHAT, "X : y"), 400),
    Case("9112 5.1: a tab before the colon", shake(CHAT, "X\t: y"), 400),
    Case("9112 5.1: space before a name that counts", shake(CHAT + "\r\nHost : a", host=None), 400),
    Case("9112 5.1: no colon", shake(CHAT, "nothing"), 400),
    Case("9110 5.1: no name", shake(CHAT, ": y"), 400),
    Case("9110 5.1: no token for a name", shake(CHAT, "X(y): z"), 400),
    Case("9110 5.1: a name beyond ASCII", shake(CHAT, "\xdc: y"), 400),
    Case("9110 5.5: an empty value", shake(CHAT, "X:"), 101),
    Case("9110 5.5: a value beyond ASCII", shake(CHAT, "X: \xfc\xff"), 101),
    Case("9110 5.5: NUL", shake(CHAT, "X: a\0b"), 400),
    Case("9110 5.5: another control character", shake(CHAT, "X: a\x01b"), 400),
    Case("9110 5.5: ESC", shake(CHAT, "X: \x1b[31m"), 400),
    Case("9110 5.5: DEL", shake(CHAT, "X: \x7f"), 400),
    Case("9112 5.2: a folded line", shake(CHAT, "X: a", " b"), 400),
    Case("9112 5.2: folded by a tab", shake(CHAT, "X: a", "\tb"), 400),
    Case("9112 5.2: a folded line that counts", shake(connection="keep-alive,\r\n Upgrade"), 400),
    Case("9112 2.2: a bare CR", shake(CHAT, "X: a\rY: b"), 400),
    Case("9112 2.2: a bare LF", shake(CHAT, "X: a\nY: b"), 400),
    Case("9112 2.2: CR twice", shake(CHAT, "X: a\r"), 400),
    Case("9112 2.2: LF alone everywhere", shake().replace(b"\r\n", b"\n"), 400),
    Case("9112 2.2: CR alone everywhere", shake().replace(b"\r\n", b"\r"), 400),
    Case("9112 2.2: a bare LF behind the request line", shake().replace(b"\r\n", b"\n", 1), 400),
    Case("9112 2.2: a bare CR in the request line", shake("GET /chat\r HTTP/1.1"), 400),
    Case("6585 5: a hundred header lines", shake(CHAT, *["X: y"] * 95), 101),
    Case("6585 5: too many header lines", shake(CHAT, *["X: y"] * 96), 431),
    Case("6585 5: as large as may be", plain(PING, "X: " + "y" * (MAX_HEADERS_SIZE - 1000)), 200),
    Case("6585 5: a handshake as large as may be", shake(CHAT, "X: " + "y" * 15_000), 101),
    Case("6585 5: too many protocols", shake(CHAT, "Sec-WebSocket-Protocol: " + "a," * 100), 431),
    Case(
        "6585 5: too many extensions", shake(CHAT, "Sec-WebSocket-Extensions: " + "a," * 100), 431
    ),
    Case(
        "6585 5: too many parameters", shake(CHAT, "Sec-WebSocket-Extensions: a" + ";b" * 100), 431
    ),
    Case("6585 5: too many options", shake(CHAT, connection="Upgrade" + ",a" * 100), 431),
    Case("6585 5: too large a line", shake(CHAT, "X: " + "y" * MAX_HEADERS_SIZE), 431),
    Case("6585 5: too large together", shake(CHAT, *["X: " + "y" * 1000] * 90), 431),
    Case("6585 5: too large without an end", shake(CHAT, "X: " + "y" * MAX_HEADERS_SIZE)[:-4], 431),
    Case("9112 3: as long a target as may be", target("/chat?" + "y" * (MAX_URL_SIZE - 6)), 101),
    Case("9112 3: too long a target", target("/chat?" + "y" * (MAX_URL_SIZE - 5)), 414),
    Case("9112 3: far too long a target", target("/chat?" + "y" * 100_000), 414),
    Case("9112 3: too long without an end", target("/chat?" + "y" * 9000)[:9000], 414),
]

UPGRADES = [
    Case("9110 15.5.22: a plain request", plain(CHAT), 426, V13),
    Case("9110 15.5.22: no Upgrade", shake(upgrade=None), 426, V13),
    Case("9110 7.8: no Connection", shake(connection=None), 426, V13),
    Case("9110 7.8: Connection without Upgrade", shake(connection="keep-alive"), 426, V13),
    Case("9110 7.8: another protocol", shake(upgrade="h2c"), 426, V13),
    Case("9110 7.8: another name", shake(upgrade="websocket2"), 426, V13),
    Case("9110 7.8: a version of the protocol", shake(upgrade="websocket/13"), 426, V13),
    Case("9110 5.6.1: a list", shake(connection="keep-alive, Upgrade"), 101),
    Case("9110 5.6.1: a list without spaces", shake(connection="keep-alive,Upgrade"), 101),
    Case("9110 5.6.1: a list with tabs", shake(connection="keep-alive\t,\tUpgrade"), 101),
    Case("9110 5.6.1: empty elements", shake(connection=", ,Upgrade,,"), 101),
    Case("9110 5.6.1: empty elements of Upgrade", shake(upgrade=",websocket,"), 101),
    Case(
        "9110 5.3: several lines", shake(CHAT, "Connection: Upgrade", connection="keep-alive"), 101
    ),
    Case("9110 5.3: an empty line", shake(CHAT, "Connection: Upgrade", connection=""), 101),
    Case("9110 5.3: the same twice", shake(CHAT, "Connection: Upgrade", "Upgrade: websocket"), 101),
    Case("9110 7.6.1: in any case", shake(connection="UPGRADE"), 101),
    Case("6455 4.2.1: in any case", shake(upgrade="WebSocket"), 101),
    Case("9110 7.8: several protocols", shake(upgrade="h2c, websocket"), 101),
    Case("9110 7.8: several lines", shake(CHAT, "Upgrade: h2c"), 101),
    Case("9110 5.6.2: no token", shake(connection="Upgrade, a b"), 400),
    Case("9110 5.6.2: quoted", shake(connection='"Upgrade"'), 400),
    Case("9110 5.6.2: a semicolon for a comma", shake(connection="keep-alive; Upgrade"), 400),
    Case("9110 7.8: no protocol", shake(upgrade="web socket"), 400),
    Case("9110 7.8: a slash too many", shake(upgrade="websocket/1/2"), 400),
    Case("9110 7.8: an upgrade of what has none", shake(PING), 200),
    Case("9110 7.8: 100 comes before 101", shake(CHAT, "Expect: 100-continue"), 101),
]

KEYS = [
    Case("6455 4.2.1: none", shake(sec_websocket_key=None), 400),
    Case("6455 4.2.1: an empty one", shake(sec_websocket_key=""), 400),
    Case("6455 11.3.1: two", shake(CHAT, f"Sec-WebSocket-Key: {KEY}"), 400),
    Case(
        "6455 11.3.1: two others", shake(CHAT, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400
    ),
    Case("6455 4.2.1: a list", shake(sec_websocket_key=f"{KEY}, {KEY}"), 400),
    Case(
        "6455 4.2.1: 15 bytes", shake(sec_websocket_key=base64.b64encode(bytes(15)).decode()), 400
    ),
    Case(
        "6455 4.2.1: 17 bytes", shake(sec_websocket_key=base64.b64encode(bytes(17)).decode()), 400
    ),
    Case("6455 4.2.1: 16 letters", shake(sec_websocket_key="0123456789abcdef"), 400),
    Case("6455 4.3: no padding", shake(sec_websocket_key=KEY.rstrip("=")), 400),
    Case("6455 4.3: too little padding", shake(sec_websocket_key=KEY[:-1]), 400),
    Case("6455 4.3: too much padding", shake(sec_websocket_key=KEY + "="), 400),
    Case("6455 4.3: padding in the middle", shake(sec_websocket_key="AA==" + KEY), 400),
    Case("6455 4.3: the other alphabet", shake(sec_websocket_key="_-" + KEY[2:]), 400),
    Case("6455 4.3: a space within", shake(sec_websocket_key=KEY[:8] + " " + KEY[8:]), 400),
    Case("6455 4.3: quoted", shake(sec_websocket_key=f'"{KEY}"'), 400),
    Case("6455 4.3: beyond ASCII", shake(sec_websocket_key="\xe4" + KEY[1:]), 400),
    Case("6455 4.4: no version", shake(sec_websocket_version=None), 426, V13),
    Case("6455 4.4: an empty one", shake(sec_websocket_version=""), 426, V13),
    Case("6455 4.4: an older one", shake(sec_websocket_version="8"), 426, V13),
    Case("6455 4.4: a later one", shake(sec_websocket_version="14"), 426, V13),
    Case(
        "6455 4.4: one without a key",
        shake(sec_websocket_version="0", sec_websocket_key=None),
        426,
        V13,
    ),
    Case("6455 4.4: several", shake(sec_websocket_version="13, 8"), 426, V13),
    Case("6455 11.3.5: several lines", shake(CHAT, "Sec-WebSocket-Version: 8"), 426, V13),
    Case("6455 11.3.5: the same twice", shake(CHAT, "Sec-WebSocket-Version: 13"), 426, V13),
    Case("6455 4.3: a zero before it", shake(sec_websocket_version="013"), 426, V13),
    Case("6455 4.3: a fraction", shake(sec_websocket_version="13.0"), 426, V13),
    Case("6455 4.3: no number", shake(sec_websocket_version="thirteen"), 426, V13),
]

MORE = [
    Case("6455 11.3.4: subprotocols", shake(CHAT, "Sec-WebSocket-Protocol: a, b"), 101),
    Case(
        "6455 11.3.4: several lines",
        shake(CHAT, "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b"),
        101,
    ),
    Case("6455 4.3: empty elements", shake(CHAT, "Sec-WebSocket-Protocol: ,a,,"), 101),
    Case(
        "6455 11.3.4: a line without any",
        shake(CHAT, "Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol:"),
        101,
    ),
    Case("6455 4.3: no subprotocol", shake(CHAT, "Sec-WebSocket-Protocol:"), 400),
    Case("6455 4.3: commas alone", shake(CHAT, "Sec-WebSocket-Protocol: , ,"), 400),
    Case("6455 4.3: no token", shake(CHAT, "Sec-WebSocket-Protocol: a b"), 400),
    Case("6455 4.3: a separator", shake(CHAT, "Sec-WebSocket-Protocol: a/b"), 400),
    Case("6455 4.3: a quoted one", shake(CHAT, 'Sec-WebSocket-Protocol: "a"'), 400),
    Case("6455 9.1: extensions", shake(CHAT, "Sec-WebSocket-Extensions: a; b=1; c, d"), 101),
    Case(
        "6455 9.1: what browsers send",
        shake(CHAT, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"),
        101,
    ),
    Case(
        "6455 9.1: several lines",
        shake(CHAT, "Sec-WebSocket-Extensions: a", "Sec-WebSocket-Extensions: b"),
        101,
    ),
    Case("6455 9.1: a quoted value", shake(CHAT, 'Sec-WebSocket-Extensions: a; b="1"'), 101),
    Case(
        "6455 9.1: quoted, and no token", shake(CHAT, 'Sec-WebSocket-Extensions: a; b="1 2"'), 400
    ),
    Case("6455 9.1: quoted, without an end", shake(CHAT, 'Sec-WebSocket-Extensions: a; b="1'), 400),
    Case("6455 9.1: no extension", shake(CHAT, "Sec-WebSocket-Extensions:"), 400),
    Case("6455 9.1: a semicolon too many", shake(CHAT, "Sec-WebSocket-Extensions: a; "), 400),
    Case("6455 9.1: no value", shake(CHAT, "Sec-WebSocket-Extensions: a; b="), 400),
    Case("6455 9.1: no name", shake(CHAT, "Sec-WebSocket-Extensions: ; b=1"), 400),
    Case("6455 9.1: no comma", shake(CHAT, "Sec-WebSocket-Extensions: a b"), 400),
    Case("6454 7.3: two origins", shake(CHAT, "Origin: http://a", "Origin: http://b"), 400),
    Case("6454 7.3: one origin", shake(CHAT, "Origin: http://a"), 101),
    Case(
        "6455 10.2: another origin with cookies",
        shake(CHAT, "Origin: http://a", "Cookie: b=c"),
        403,
    ),
    Case(
        "6455 10.2: its own origin with cookies",
        shake(CHAT, "Origin: http://localhost", "Cookie: b=c"),
        101,
    ),
    Case("6455 10.2: cookies without an origin", shake(CHAT, "Cookie: b=c"), 101),
]

CASES = [
    *REQUEST_LINES,
    *VERSIONS,
    *TARGETS,
    *HOSTS,
    *FIELD_LINES,
    *UPGRADES,
    *KEYS,
    *MORE,
]
