"""The writing half of a TLS connection: what is encrypted, and how it leaves.

Rules. What is unsent is ciphertext in the socket's transport. While that has none, bytes go to the socket
past it, as those of ``outgoing`` do. While a client leaves unread what OpenSSL answers by itself, it is
not read either.
"""

from __future__ import annotations

from collections.abc import Sequence
from ssl import SSLError
from typing import Any, cast

from mpchat.tls.records import PIECE
from mpchat.tls.stages import ENDED, NEW, OPEN, SHUT
from mpchat.tls.worker import TlsWorker
from mpchat.websocket.budget import TLS_WRITE
from mpchat.websocket.direct import write
from mpchat.websocket.turn import Turn

Data = bytes | bytearray | memoryview


class TlsOutlet:
    """One connection, as it is written to; ``descriptor`` is that of its socket, -1 if it has none."""

    __slots__ = (
        "_descriptor",
        "_is_behind",
        "_is_full",
        "_is_unanswered",
        "_stage",
        "_tls",
        "_transport",
        "_turn",
        "_worker",
    )

    def __init__(self, worker: TlsWorker, descriptor: int) -> None:
        self._worker = worker
        self._turn: Turn = worker.turn
        self._descriptor = descriptor
        self._transport: Any = None
        self._tls: Any = None
        self._stage = NEW
        # The transport may have bytes; one without a socket always gets them all.
        self._is_behind = True
        # The transport wants no more at present, and among what it has are answers of OpenSSL's.
        self._is_full = self._is_unanswered = False

    # What is left to the reading half

    def abort(self) -> None:
        """Close at once; what is unsent is lost."""
        raise NotImplementedError

    def _set_reading(self) -> None:
        """Read the socket unless something keeps us from it."""
        raise NotImplementedError

    # Ciphertext

    def _send_answer(self) -> None:
        """Send what OpenSSL has to say by itself."""
        answer = self._worker.take_answer()
        if answer:
            self._send(answer)
            if self._is_full and self._stage >= OPEN:
                self._is_unanswered = True
                self._set_reading()

    def _send(self, data: bytes) -> None:
        """Send ciphertext."""
        rest = self._send_past(data)
        if rest:
            self._transport.write(rest)

    def _send_past(self, data: bytes) -> bytes:
        """Give ciphertext to the system, past the transport; return what that has to get."""
        if self._is_behind:
            self._is_behind = self._descriptor < 0 or self._transport.get_write_buffer_size() > 0
        if self._is_behind:
            return data
        taken = write(self._descriptor, data)
        if taken == len(data):
            return b""
        self._is_behind = True
        return data[taken:]

    def _give_up(self) -> None:
        """An error that nobody expects: leave nothing of this connection for others."""
        self._worker.forget()
        self.abort()

    def _notify(self) -> None:
        self._worker.notify(self._tls)
        self._send_answer()

    # The transport's methods for what is above

    def write(self, data: Data) -> None:
        """Encrypt and send.

        Raises:
            RuntimeError: After ``write_eof``.
        """
        if len(data) > PIECE:
            self.writelines([data])
        elif data and self._may_write():
            self._turn.left -= TLS_WRITE + len(data)
            try:
                encrypted = self._worker.encrypt(self._tls, data)
            except BaseException as error:
                # Whatever it is: what it leaves in a BIO would go to another client.
                self._give_up()
                if isinstance(error, SSLError):
                    return
                raise
            self._send(encrypted)

    def writelines(self, parts: Sequence[Data]) -> None:
        """Encrypt these, one behind the other, and send them; see ``write``."""
        if sum(map(len, parts)) <= PIECE:
            self.write(b"".join(parts))
        elif self._may_write():
            try:
                encrypted = self._worker.encrypt_parts(self._tls, parts)
            except BaseException as error:
                self._give_up()
                if isinstance(error, SSLError):
                    return
                raise
            self._turn.left -= TLS_WRITE + sum(map(len, encrypted))
            self._send_parts(encrypted)

    def _send_parts(self, parts: list[bytes]) -> None:
        """Send ciphertext of any length; what the system does not take goes to the transport in one."""
        for index, part in enumerate(parts):
            rest = self._send_past(part)
            if rest:
                self._transport.writelines([rest, *parts[index + 1 :]])
                return

    def _may_write(self) -> bool:
        if self._stage == SHUT:
            raise RuntimeError("cannot write after write_eof")
        return self._stage in (OPEN, ENDED)

    def get_write_buffer_size(self) -> int:
        return int(self._transport.get_write_buffer_size()) if self._is_behind else 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return cast(tuple[int, int], self._transport.get_write_buffer_limits())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._transport.set_write_buffer_limits(high=high, low=low)

    def can_write_eof(self) -> bool:
        return True
