"""Records that no client's library would send: sealed with the keys that TLS 1.3 has agreed on."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

HANDSHAKE, ALERT, DATA = 22, 21, 23


class Sealer:
    """The client's direction, from its first record behind the handshake; ``log`` has its secrets."""

    def __init__(self, log: Path) -> None:
        [line] = (
            line
            for line in log.read_text().splitlines()
            if line.startswith("CLIENT_TRAFFIC_SECRET_0")
        )
        self._secret = bytes.fromhex(line.split()[2])
        self._new_key()

    def seal(self, kind: int, content: bytes, padding: int = 0) -> bytes:
        """Return a record."""
        inner = content + bytes([kind]) + bytes(padding)
        header = b"\x17\x03\x03" + (len(inner) + 16).to_bytes(2)
        nonce = (int.from_bytes(self._iv) ^ self._sequence).to_bytes(12)
        self._sequence += 1
        return header + self._key.encrypt(nonce, inner, header)

    def key_update(self, *, wants_answer: bool) -> bytes:
        """Return a record after which other keys count."""
        record = self.seal(HANDSHAKE, b"\x18\x00\x00\x01" + bytes([wants_answer]))
        self._secret = self._expand(b"traffic upd", 48)
        self._new_key()
        return record

    def _new_key(self) -> None:
        self._key, self._iv = AESGCM(self._expand(b"key", 32)), self._expand(b"iv", 12)
        self._sequence = 0

    def _expand(self, label: bytes, length: int) -> bytes:
        label = b"tls13 " + label
        info = length.to_bytes(2) + bytes([len(label)]) + label + b"\0"
        return HKDFExpand(hashes.SHA384(), length, info).derive(self._secret)
