"""The rows of the benchmark: a load, what is measured under it, and in which unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .servers import PING_SECONDS, Server, Setting

Kind = Literal["message", "handshake", "flood", "rest", "idle", "held", "never-read"]

KIB = 1024
MIB = 1024 * KIB

ONE_READY = "Time to READY with one worker, ms"
EACH_READY = "Time to READY, each further worker, ms"
ONE_SIZE = "Memory with one worker, MiB"
EACH_SIZE = "Memory, each further worker, MiB"
OF_WORKERS = (ONE_READY, EACH_READY, ONE_SIZE, EACH_SIZE)


@dataclass(frozen=True)
class Row:
    """One load.

    Attributes:
        name: As it is printed.
        connections: How many clients at once.
        in_flight: Messages that each of them has underway.
        size: Payload of each message, bytes.
        text: Whether they are text; binary otherwise.
        kind: What is measured: CPU time of a message or of a handshake; the 99th percentile of the
            latency of the others while the first connection floods; CPU time of an hour of one
            connection at rest; or memory per connection (idle; held after one echo; held for a
            client that never reads).
        setting: How the servers run.
        quick: Whether ``make bench-quick`` has this row.
    """

    name: str
    connections: int
    in_flight: int = 1
    size: int = 32
    text: bool = False
    kind: Kind = "message"
    setting: Setting = "plain"
    quick: bool = False

    @property
    def memory(self) -> bool:
        """Whether memory is measured; each sample then takes a server of its own."""
        return self.kind in {"idle", "held", "never-read"}

    @property
    def cpu(self) -> bool:
        """Whether the CPU time of a message or of a handshake is measured."""
        return self.kind in {"message", "handshake"}

    @property
    def unit(self) -> str:
        """The unit of what is measured."""
        return "KiB" if self.memory else "ms" if self.kind == "rest" else "µs"

    @property
    def large(self) -> bool:
        """Whether messages exceed mpchat's default limit of 64 KiB."""
        return self.size > 64 * KIB

    def suits(self, server: Server) -> bool:
        """Tell whether that server takes part.

        The one that answers in capitals wants text; memory is measured in one form of mpchat.
        """
        if (server.upper and not self.text) or (server.interpreted and self.memory):
            return False
        return server.has(self.setting)

    def arguments(self, server: Server, connections: int | None = None) -> list[str]:
        """Return the client's arguments, by default for all connections."""
        words = ["--connections", str(connections or self.connections)]
        words += ["--in-flight", str(self.in_flight), "--size", str(self.size)]
        flags = {
            "--text": self.text,
            "--upper": server.upper,
            "--raw": server.raw,
            "--handshakes": self.kind == "handshake",
            "--in-turn": self.kind == "held",
            "--never-read": self.kind == "never-read",
            "--flood": self.kind == "flood",
            "--deflate": self.setting == "deflate",
        }
        words += ["--rest", str(PING_SECONDS)] if self.kind == "rest" else []
        return words + [flag for flag, wanted in flags.items() if wanted]


ROWS = (
    Row("32 B, 1 connection", 1),
    Row("1 KiB, 1 connection", 1, size=KIB),
    Row("64 KiB, 1 connection", 1, size=64 * KIB),
    Row("1 MiB, 1 connection", 1, size=MIB),
    Row("32 B, 64 connections", 64, quick=True),
    Row("1 KiB, 64 connections", 64, size=KIB, quick=True),
    Row("64 KiB, 64 connections", 64, size=64 * KIB, quick=True),
    Row("1 MiB, 64 connections", 64, size=MIB, quick=True),
    Row("32 B, 64 with 16 in flight", 64, in_flight=16, quick=True),
    Row("1 KiB, 64 with 16 in flight", 64, in_flight=16, size=KIB),
    Row("64 KiB, 8 with 16 in flight", 8, in_flight=16, size=64 * KIB, quick=True),
    Row("32 B of text, 64 connections", 64, text=True),
    Row("64 KiB of text, 64 connections", 64, size=64 * KIB, text=True),
    Row("1 MiB of text, 64 connections", 64, size=MIB, text=True),
    Row("1 KiB of JSON, compressed, 64 connections", 64, size=KIB, text=True, setting="deflate"),
    Row(
        "64 KiB of JSON, compressed, 64 connections",
        64,
        size=64 * KIB,
        text=True,
        setting="deflate",
    ),
    Row("32 B, 10 connections", 10),
    Row("32 B, 1,000 connections", 1_000),
    Row("32 B, 10,000 connections", 10_000),
    Row("32 B, 100 connections beside one that floods", 101, kind="flood"),
    Row("Handshake", 16, kind="handshake", quick=True),
    Row("An hour of a connection at rest, of 5,000", 5_000, kind="rest", setting="pings"),
    Row("Idle connection, of 5,000", 5_000, kind="idle", quick=True),
    Row("Held after an echo of 1 MiB, of 500", 500, size=MIB, kind="held"),
    Row("Client that never reads, of 64", 64, size=64 * KIB, kind="never-read"),
)
