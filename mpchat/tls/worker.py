"""What the TLS connections of a worker share: one pair of memory BIOs, and scratch for plaintext.

Rules. Both BIOs are empty whenever other code runs: each method here leaves them so, but for what OpenSSL
has to say to the client, which ``take_answer`` returns. At most 64 KiB go through at a time, since a BIO
keeps the memory of its largest content. OpenSSL puts no limit on records without data, such as key
updates, of which 64 KiB take it a tenth of a second: 16 records are fed at a time, and no more when some
of them had no data.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from ssl import MemoryBIO, SSLError, SSLWantReadError
from typing import Any

from mpchat.tls.handshakes import Handshakes
from mpchat.tls.records import PIECE, RECORD, Records
from mpchat.websocket.shared import Shared

_RECORDS = 16
_SMALL = 4096
"""A read of at most this size goes around the scratch if it has data in a single record."""


class TlsWorker:
    """One for each worker.

    Args:
        base: Makes the TLS object of each connection.
        handshake_timeout: Seconds for a handshake, from the accept.

    Attributes:
        end: Where ``decrypt`` has stopped feeding.
        controls: Records without data among what it has fed.
        is_plain: Whether it was one record with data, and OpenSSL has nothing to say.
        has_ended: Whether the client's close_notify was the last of it.
        failure: OpenSSL's judgement of it, if that was bad; the TLS object is of no more use.
    """

    __slots__ = (
        "_incoming",
        "_outgoing",
        "_plain",
        "base",
        "controls",
        "counters",
        "end",
        "failure",
        "handshake_timeout",
        "handshakes",
        "has_ended",
        "is_plain",
        "max_handshake_bytes",
        "shared",
        "turn",
    )

    def __init__(self, base: ssl.SSLContext, shared: Shared, handshake_timeout: float) -> None:
        self.base = base
        self.shared = shared
        self.turn = shared.turn
        self.counters = shared.counters
        self.handshake_timeout = handshake_timeout
        self.handshakes = Handshakes(shared.turn, shared.counters, shared.thresholds)
        self._incoming = MemoryBIO()
        self._outgoing = MemoryBIO()
        # What is fed at a time, and a record of which all but the end was fed before.
        self._plain = memoryview(bytearray(PIECE + RECORD))
        self.end = self.controls = 0
        self.has_ended = self.is_plain = False
        self.max_handshake_bytes = shared.thresholds.max_tls_handshake_bytes
        self.failure: SSLError | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is under way: other code may run only then."""
        return not self._incoming.pending and not self._outgoing.pending

    def forget(self) -> None:
        """Empty both BIOs: what they hold is of a connection that is over."""
        self._incoming.read()
        self._outgoing.read()

    def take_answer(self) -> bytes:
        """Return what OpenSSL has to say by itself, such as a part of the handshake or an alert."""
        return self._outgoing.read() if self._outgoing.pending else b""

    def begin(self) -> ssl.SSLObject:
        """Return the TLS object of a new connection."""
        return self.base.wrap_bio(self._incoming, self._outgoing, server_side=True)

    def shake(self, tls: ssl.SSLObject, records: Records, data: bytes) -> bool:
        """Feed a step of a handshake, up to ``end``; return whether it was the last one."""
        self.end = records.measure(data, 0, PIECE, _RECORDS)
        self.failure = None
        self._incoming.write(memoryview(data)[: self.end])
        try:
            tls.do_handshake()
        except SSLWantReadError:
            return False
        except SSLError as error:
            self._fail(error)
            return False
        return True

    def decrypt_rest(self, tls: ssl.SSLObject) -> bytes:
        """Return the data that came in the same piece as the end of the handshake."""
        self.has_ended = False
        plain = bytes(self._plain[: self._read(tls, 0)])
        # The handshake's own records are not told apart from the first ones behind it.
        self.controls = 0
        return plain

    def decrypt(self, tls: ssl.SSLObject, records: Records, data: bytes, start: int) -> bytes:
        """Feed ``data`` from ``start`` up to ``end``, and return what it is in plain."""
        self.has_ended = self.is_plain = False
        self.failure = None
        size, total = len(data), 0
        end = self.end = records.measure(data, start, PIECE, _RECORDS)
        self.controls = records.whole
        if start == 0 and end == size <= _SMALL and records.whole == 1:
            self._incoming.write(data)
            try:
                plain: bytes = tls.read(size)
            except SSLWantReadError:
                return b""
            except SSLError as error:
                self._fail(error)
                return b""
            if not plain:
                self._end()
                return b""
            if not tls.pending():
                self.controls = 0
                if not self._incoming.pending:
                    self.is_plain = not self._outgoing.pending
                    return plain
            total = len(plain)
            self._plain[:total] = plain
            return bytes(self._plain[: self._read(tls, total)])
        while True:
            self._incoming.write(memoryview(data)[start:end])
            total = self._read(tls, total)
            room = PIECE - total
            if end == size or room < RECORD or self.controls or self.has_ended:
                break
            start, end = end, records.measure(data, end, room, _RECORDS)
            self.end = end
            self.controls += records.whole
        return bytes(self._plain[:total])

    def _read(self, tls: Any, total: int) -> int:
        """Read all that was fed into the scratch, behind ``total`` bytes; return how many it has then."""
        incoming, plain, with_data = self._incoming, self._plain, 0
        try:
            while True:
                got = tls.read(RECORD, plain[total:])
                if not got:
                    self._end()
                    return total
                total += got
                if not tls.pending():
                    with_data += 1
                    if not incoming.pending:
                        break
        except SSLWantReadError:
            pass
        except SSLError as error:
            self._fail(error)
            return total
        self.controls -= with_data
        return total

    def _end(self) -> None:
        """The client's close_notify has come: what is behind it is nothing to us."""
        self.has_ended = True
        self.controls = 0
        self._incoming.read()

    def _fail(self, error: SSLError) -> None:
        self.failure = error
        self.controls = 0
        self._incoming.read()

    def encrypt(self, tls: ssl.SSLObject, data: bytes | bytearray | memoryview) -> bytes:
        """Return at most 64 KiB of data, encrypted."""
        tls.write(data)
        return self._outgoing.read()

    def encrypt_parts(
        self, tls: ssl.SSLObject, parts: Sequence[bytes | bytearray | memoryview]
    ) -> list[bytes]:
        """Return any amount of data in full records: each costs 22 bytes, and the client some work."""
        encrypted, gathered, room = [], [], PIECE
        for part in parts:
            view = memoryview(part)
            while len(view) >= room:
                gathered.append(view[:room])
                view = view[room:]
                encrypted.append(self.encrypt(tls, _joined(gathered)))
                gathered, room = [], PIECE
            if view:
                gathered.append(view)
                room -= len(view)
        if gathered:
            encrypted.append(self.encrypt(tls, _joined(gathered)))
        return encrypted

    def notify(self, tls: ssl.SSLObject) -> None:
        """Say close_notify, as an answer."""
        try:
            tls.unwrap()
        except SSLError:
            # It would read the client's, which is the usual case. Whatever else it is: this was the end.
            self._incoming.read()


def _joined(parts: list[memoryview]) -> bytes | memoryview:
    return parts[0] if len(parts) == 1 else b"".join(parts)
