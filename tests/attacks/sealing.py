"""A client's side of TLS 1.3 without a socket, which makes records that no library makes."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from tests.kit.hellos import X25519, client_hello
from tests.kit.tls import DATA, Sealer

HELLO = client_hello([X25519], [X25519])
"""What a service answers, and then waits for the rest of the handshake."""


class Sealing:
    """One connection: bytes in, bytes out."""

    def __init__(self, ca: str) -> None:
        """Trust an authority's file."""
        # The file of secrets belongs to a context.
        context = ssl.create_default_context(cafile=ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._keys = tempfile.NamedTemporaryFile(prefix="mpchat-keys-")  # noqa: SIM115
        context.keylog_filename = self._keys.name
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname="127.0.0.1")
        self._sealer: Sealer | None = None

    @property
    def is_open(self) -> bool:
        """Whether the handshake is done."""
        return self._sealer is not None

    def begin(self) -> bytes:
        """Return the ClientHello."""
        return self.receive(b"")[0]

    def receive(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what is to be sent, and the plaintext in what has come."""
        self._incoming.write(data)
        plain = b""
        try:
            if self._sealer is None:
                self._object.do_handshake()
                self._sealer = Sealer(Path(self._keys.name))
                self._keys.close()
                return self._outgoing.read(), b""
            while part := self._object.read(65_536):
                plain += part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:
            # An alert: the end follows.
            pass
        # Answers to key updates would need our own next record.
        return b"" if self.is_open else self._outgoing.read(), plain

    def seal(self, data: bytes) -> bytes:
        """Return a record with data."""
        assert self._sealer is not None
        return self._sealer.seal(DATA, data)

    def key_updates(self, count: int) -> bytes:
        """Return so many of them; none asks for an answer."""
        assert self._sealer is not None
        return b"".join(self._sealer.key_update(asks=False) for _ in range(count))

    def empty_records(self, count: int) -> bytes:
        """Return so many, and one with part of a message for every thirty, lest OpenSSL ends it."""
        assert self._sealer is not None
        seal = self._sealer.seal
        return b"".join(seal(DATA, b"" if number % 30 else b"x") for number in range(count))
