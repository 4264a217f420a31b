"""A TLS client on a bare socket: a test has every byte in its hands, to cut, hold back or make itself."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from mpchat.testsuite.service import DEADLINE
from tests.kit.raw import handshake

HANDSHAKE, ALERT, DATA = 0x16, 0x15, 0x17


class TlsClient:
    """One connection. Nothing is sent before the test says so, and every wait has a deadline.

    Use as a context manager: it closes the socket, whatever became of it.
    """

    def __init__(
        self,
        port: int,
        context: ssl.SSLContext,
        *,
        name: str | None = "localhost",
        session: ssl.SSLSession | None = None,
        before: bytes = b"",
        host: str = "127.0.0.1",
    ) -> None:
        """Connect, and send ``before`` TLS begins what is asked for."""
        self.sock = socket.create_connection((host, port), DEADLINE)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(before)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=name, session=session
        )
        self.ended = ""
        """How the server has ended it: ``close_notify``, ``end of file`` without one, ``reset``."""
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.sock.close()

    def feed(self) -> None:
        """Wait for bytes of the server's, which the next step takes up.

        Raises:
            EOFError: It has ended the connection.
        """
        data = self.sock.recv(65_536)
        if not data:
            raise EOFError("end of file within the handshake")
        self._incoming.write(data)

    def step(self) -> bytes:
        """Go on with the handshake as far as that goes, and return what is to be sent.

        Raises:
            SSLError: The server's answer is an alert, or does not do.
        """
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self._outgoing.read()

    def shake(self, piece: int = 1 << 20) -> Self:
        """Do the whole handshake, in pieces of so many bytes.

        Raises:
            SSLError: As above; EOFError: The server has ended it without an alert.
        """
        while not self._is_done():
            self.send_raw(self._outgoing.read(), piece)
            self.feed()
        self.send_raw(self._outgoing.read(), piece)
        return self

    def open(self, path: str = "/chat", *lines: str) -> Self:
        """Do both handshakes; what follows are frames."""
        self.shake()
        self.send(handshake(path, *lines))
        head = self.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 "), head
        return self

    def seal(self, data: bytes) -> bytes:
        """Return the records for this plaintext."""
        self.tls.write(data)
        return self._outgoing.read()

    def send(self, data: bytes) -> None:
        """Send plaintext."""
        self.send_raw(self.seal(data))

    def send_raw(self, data: bytes, piece: int = 1 << 20) -> None:
        """Send bytes as they are."""
        for begin in range(0, len(data), piece):
            self.sock.sendall(data[begin : begin + piece])

    def receive(self, count: int) -> bytes:
        """Return so many bytes of plaintext.

        Raises:
            EOFError: It was ended before; ``ended`` says how.
        """
        while len(self._rest) < count:
            if self.ended:
                raise EOFError(f"{self.ended} after {self._rest!r}")
            self._rest += self._read()
        data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def receive_until(self, end: bytes) -> bytes:
        """Return plaintext with this end; raises as ``receive``."""
        found = b""
        while not found.endswith(end):
            found += self.receive(1)
        return found

    def receive_all(self) -> bytes:
        """Return all plaintext that comes until the server ends the connection, and its end with it."""
        while not self.ended:
            self._rest += self._read()
        if self.ended == "close_notify":
            # And nothing but an end of file follows it.
            self.ended = self._raw_end()
        data, self._rest = self._rest, b""
        return data

    def has_news(self) -> bool:
        """Whether plaintext has come, or the end; does not wait, and takes in what has come.

        Raises:
            SSLError: The server has sent an alert.
        """
        self.sock.setblocking(False)
        try:
            self._rest += self._read()
        except BlockingIOError:
            pass
        finally:
            self.sock.settimeout(DEADLINE)
        return bool(self._rest or self.ended)

    def receive_frame(self) -> tuple[int, bytes]:
        """Return the first byte of an unmasked frame, and its payload; raises as ``receive``."""
        first, length = self.receive(2)
        if length == 126:
            (length,) = struct.unpack("!H", self.receive(2))
        elif length == 127:
            (length,) = struct.unpack("!Q", self.receive(8))
        return first, self.receive(length)

    def notify(self) -> None:
        """Send close_notify, and nothing else."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        self.send_raw(self._outgoing.read())

    def finish(self) -> None:
        """Send an end of file; what the server sends can be read on."""
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Be gone without a word: the server's next packet is told so."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _is_done(self) -> bool:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def _read(self) -> bytes:
        """Return some plaintext, or nothing when it has ended."""
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                data = self._decrypt()
                self.ended = "" if data else "close_notify"
                return data
            try:
                more = self.sock.recv(65_536)
            except ConnectionResetError:
                self.ended = "reset"
                return b""
            if not more:
                self.ended = "end of file"
                return b""
            self._incoming.write(more)

    def _decrypt(self) -> bytes:
        try:
            return self.tls.read(65_536)
        except ssl.SSLZeroReturnError:
            # How it comes after a close_notify of our own.
            return b""

    def _raw_end(self) -> str:
        try:
            rest = self.sock.recv(65_536)
        except ConnectionResetError:
            return "close_notify, reset"
        return "close_notify, bytes" if rest else "close_notify"


class Sealer:
    """Makes a client's records of TLS 1.3 after the handshake, also those that no library makes.

    From its first record on, the client's own object must write nothing.
    """

    def __init__(self, keys: Path) -> None:
        """Read the secret that ``SSLContext.keylog_filename`` has put into this file."""
        # Those of the last connection.
        secrets = dict(_secrets(keys))
        self._secret = secrets["CLIENT_TRAFFIC_SECRET_0"]
        self._new_keys()

    def seal(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """Return one record of TLS_AES_256_GCM_SHA384."""
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2)
        nonce = (int.from_bytes(self._iv) ^ self._sequence).to_bytes(12)
        self._sequence += 1
        return header + self._key.encrypt(nonce, inner, header)

    def key_update(self, asks: bool) -> bytes:
        """Return a KeyUpdate, after which new keys count; ``asks`` for one of the server's."""
        record = self.seal(HANDSHAKE, b"\x18\x00\x00\x01" + bytes([asks]))
        self._secret = self._expand(b"traffic upd", 48)
        self._new_keys()
        return record

    def _new_keys(self) -> None:
        self._key = AESGCM(self._expand(b"key", 32))
        self._iv = self._expand(b"iv", 12)
        self._sequence = 0

    def _expand(self, label: bytes, length: int) -> bytes:
        """Derive by HKDF-Expand-Label (RFC 8446, section 7.1)."""
        label = b"tls13 " + label
        info = length.to_bytes(2) + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(hashes.SHA384(), length, info).derive(self._secret)


def _secrets(keys: Path) -> Iterator[tuple[str, bytes]]:
    for line in keys.read_text().splitlines():
        if not line.startswith("#"):
            name, _random, secret = line.split()
            yield name, bytes.fromhex(secret)
