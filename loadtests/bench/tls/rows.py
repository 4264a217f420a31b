"""The rows of TLS."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ..rows import KIB, MIB, Row
from ..servers import Setting
from ..task import Task
from .certificates import KeyKind, put_certificate

TLS_1_3 = "--tls 1.3"
KEYS: tuple[KeyKind, ...] = ("EC", "RSA")


@dataclass(frozen=True)
class TlsRow(Row):
    """One load by TLS.

    Attributes:
        key: What the servers sign with.
    """

    setting: Setting = "tls"
    client: str = TLS_1_3
    key: KeyKind = "EC"


class TlsTask(Task):
    """A row of TLS that is to be measured."""

    row: TlsRow

    def new_folder(self, name: str) -> Path:
        """Make a folder for a server, with what it identifies itself by."""
        folder = super().new_folder(name)
        put_certificate(folder, self.row.key)
        return folder


def _handshake(version: str, key: KeyKind, resumed: bool) -> TlsRow:
    name = f"Handshake, TLS {version}, {'resumed, ' if resumed else ''}{key}"
    words = f"--tls {version}{' --resume' if resumed else ''}"
    quick = version == "1.3" and key == "EC"
    return TlsRow(name, 16, kind="handshake", client=words, key=key, quick=quick)


SMALL = TlsRow("32 B, 64 connections", 64, quick=True)
IDLE = TlsRow("Idle connection, of 2,000", 2_000, kind="idle", quick=True)
AFTER = TlsRow("Idle after an echo of 1 MiB, of 500", 500, size=MIB, kind="echoed", quick=True)
ROWS = (
    TlsRow("32 B, 1 connection", 1),
    SMALL,
    TlsRow("32 B, 64 with 16 in flight", 64, in_flight=16),
    TlsRow("1 KiB, 64 connections", 64, size=KIB),
    TlsRow("64 KiB, 64 connections", 64, size=64 * KIB, quick=True),
    TlsRow("1 MiB, 64 connections", 64, size=MIB),
    *(
        _handshake(version, key, resumed)
        for version, key, resumed in product(("1.3", "1.2"), KEYS, (False, True))
    ),
    IDLE,
    TlsRow("Idle after an echo of 60 KiB, of 2,000", 2_000, size=60 * KIB, kind="echoed"),
    AFTER,
)
