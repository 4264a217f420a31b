"""What the TLS connections of a worker share: one pair of memory BIOs, and scratch for plaintext.

Rules. Both BIOs are empty whenever other code runs: each method here leaves them so, but for what OpenSSL
has to say to the client, which ``take_answer`` returns. At most 80 KiB go through at a time, since a BIO
keeps the memory of its largest content. OpenSSL puts no limit on records without data, such as key
updates, of which 64 KiB take it a tenth of a second: 16 records are fed at a time, and no more when some
of them had no data.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from ssl import MemoryBIO, SSLError, SSLWantReadError
from typing import Any

from mpchat.tls.contexts import peer_is_valid
from mpchat.tls.handshakes import Handshakes
from mpchat.tls.records import PIECE, RECORD, Records
from mpchat.websocket.shared import Shared

MOST = PIECE + RECORD
"""The most data that comes at a time: what is fed, and a record of which the end was missing."""
_RECORDS = 16
_SMALL = 4096
"""A read of at most this size goes around the scratch if it has data in a single record."""


class TlsWorker:
    """One for each worker.

    Args:
        base: Makes the TLS object of each connection.
        handshake_timeout: Seconds for a handshake, from the accept.

    Attributes:
        scratch: MOST bytes, for what nobody else has a buffer for.
        end: Where ``decrypt`` has stopped feeding.
        controls: Records without data among what it has fed.
        is_plain: Whether it was one record with data, and OpenSSL has nothing to say.
        has_ended: Whether the client's close_notify was the last of it.
        failure: OpenSSL's judgement of it, if that was bad; the TLS object is of no more use.
    """

    __slots__ = (
        "_incoming",
        "_outgoing",
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
        "scratch",
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
        self.scratch = memoryview(bytearray(MOST))
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

    def is_peer_valid(self, tls: ssl.SSLObject) -> bool:
        """Whether the client's certificate is valid now, if it needs one: OpenSSL looks only once."""
        if not tls.session_reused or self.base.verify_mode == ssl.CERT_NONE:
            return True
        return peer_is_valid(tls, self.shared.wall_clock())

    def decrypt_rest(self, tls: ssl.SSLObject) -> bytes:
        """Return the data that came in the same piece as the end of the handshake."""
        self.has_ended = False
        plain = bytes(self.scratch[: self._read(tls, self.scratch, 0)])
        # The handshake's own records are not told apart from the first ones behind it.
        self.controls = 0
        return plain

    def decrypt(self, tls: ssl.SSLObject, records: Records, data: bytes, start: int) -> bytes:
        """Feed ``data`` from ``start`` up to ``end``, and return what it is in plain."""
        size = len(data)
        end = self._begin(records, data, start)
        if start > 0 or end < size or size > _SMALL or records.whole != 1:
            return bytes(self.scratch[: self._feed(tls, self.scratch, records, data, start, end)])
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
        self.scratch[:total] = plain
        return bytes(self.scratch[: self._read(tls, self.scratch, total)])

    def decrypt_into(
        self, buffer: memoryview, tls: ssl.SSLObject, records: Records, data: bytes, start: int
    ) -> int:
        """Do the same with a buffer of MOST bytes or more; return how many there are in plain."""
        end = self._begin(records, data, start)
        return self._feed(tls, buffer, records, data, start, end)

    def _begin(self, records: Records, data: bytes, start: int) -> int:
        """Return the end of the first piece."""
        self.has_ended = self.is_plain = False
        self.failure = None
        self.end = records.measure(data, start, PIECE, _RECORDS)
        self.controls = records.whole
        return self.end

    def _feed(
        self,
        tls: ssl.SSLObject,
        buffer: memoryview,
        records: Records,
        data: bytes,
        start: int,
        end: int,
    ) -> int:
        """Decrypt one piece after another, as long as all records have data and there is room."""
        size, total = len(data), 0
        while True:
            self._incoming.write(memoryview(data)[start:end])
            total = self._read(tls, buffer, total)
            room = PIECE - total
            if end == size or room < RECORD or self.controls or self.has_ended or self.failure:
                return total
            start, end = end, records.measure(data, end, room, _RECORDS)
            self.end = end
            self.controls += records.whole

    def _read(self, tls: Any, buffer: memoryview, total: int) -> int:
        """Read all that was fed, behind ``total`` bytes of the buffer; return how many it has then."""
        incoming, with_data = self._incoming, 0
        try:
            while True:
                got = tls.read(RECORD, buffer[total:])
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
        """Return at most PIECE bytes of data, encrypted."""
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
