"""The rows of the benchmark: a load, what is measured under it, and in which unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .servers import PING_SECONDS, ROOM_SETTINGS, Server, Setting

Kind = Literal[
    "message",
    "handshake",
    "flood",
    "rest",
    "idle",
    "echoed",
    "held",
    "never-read",
    "room",
    "delivery",
    "spread",
    "beside",
    "joined",
]
ROOM_KINDS = ("room", "delivery", "spread")

KIB = 1024
MIB = 1024 * KIB

ONE_READY = "Time to READY with one worker, ms"
EACH_READY = "Time to READY, each further worker, ms"
ONE_SIZE = "Memory with one worker, MiB"
EACH_SIZE = "Memory, each further worker, MiB"
OF_WORKERS = (ONE_READY, EACH_READY, ONE_SIZE, EACH_SIZE)

BESIDE = 10
"""Connections whose echoes are measured beside a room"""
SOCKETIO_PATH = "/socket.io/?EIO=4&transport=websocket"


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
            connection at rest; or memory per connection (idle; idle after one echo; held after one
            echo, beyond that of an idle one; held for a client that never reads). Of a room whose
            members the connections are: CPU time of a delivery to one of them (room), what of it the
            members' worker takes while another one has the publisher (delivery), of a message to one
            member in each of two workers (spread); the 99th percentile of the latency of echoes beside
            it (beside); memory per membership (joined).
        setting: How the servers run.
        client: Further words for the client.
        path: What the client asks for.
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
    path: str = ""
    client: str = ""

    @property
    def memory(self) -> bool:
        """Whether memory per connection is measured; each sample then takes a server of its own."""
        return self.kind in {"idle", "echoed", "held", "never-read"}

    @property
    def in_room(self) -> bool:
        """Whether a message to the members of a room is measured."""
        return self.kind in ROOM_KINDS

    @property
    def workers(self) -> int:
        """How many workers a server starts with."""
        return 2 if self.kind == "spread" else 1

    @property
    def cpu(self) -> bool:
        """Whether the CPU time of a message, a delivery or a handshake is measured."""
        return self.kind in {"message", "handshake"} or self.in_room

    @property
    def deliveries(self) -> int:
        """How often the CPU time that is measured paid for each message."""
        return self.connections if self.kind in {"room", "delivery"} else 1

    @property
    def unit(self) -> str:
        """The unit of what is measured."""
        units = {"rest": "ms", "joined": "bytes"}
        return "KiB" if self.memory else units.get(self.kind, "µs")

    @property
    def large(self) -> bool:
        """Whether messages exceed mpchat's default limit of 64 KiB."""
        return self.size > 64 * KIB

    def suits(self, server: Server) -> bool:
        """Tell whether that server takes part.

        The one that answers in capitals wants text, and the one that times no answer small messages,
        where that would show. Memory, and parts of what a room costs, are measured
        in one form of mpchat; some of these parts the others do not have.
        """
        of_one_form = self.memory or self.kind in {"delivery", "spread", "beside"}
        if (server.upper and not self.text) or (server.interpreted and of_one_form):
            return False
        if server.untimed and (self.kind != "message" or self.size > 32 or self.text):
            return False
        if self.kind in {"delivery", "beside"} and not (server.mpchat or server.raw):
            return False
        return server.has(self.setting)

    def has_publisher_apart(self, server: Server) -> bool:
        """Tell whether the publisher is to be in another worker than the other members."""
        return self.kind in {"delivery", "spread"} and not server.raw and not server.echo

    def arguments(self, server: Server, connections: int | None = None) -> list[str]:
        """Return the client's arguments, by default for all connections."""
        connections = connections or self.connections
        if server.echo or (self.kind == "spread" and self.has_publisher_apart(server)):
            connections = 1
        words = ["--connections", str(connections)]
        words += ["--in-flight", str(self.in_flight), "--size", str(self.size)]
        words += self._where(server)
        flags = {
            "--text": self.text,
            "--upper": server.upper,
            "--raw": server.raw,
            "--handshakes": self.kind == "handshake",
            "--in-turn": self.kind in {"echoed", "held", "joined"},
            "--never-read": self.kind == "never-read",
            "--flood": self.kind == "flood",
            "--deflate": self.setting == "deflate",
            "--socketio": server.socketio,
            "--apart": self.has_publisher_apart(server),
            "--room": (self.in_room or self.kind == "beside")
            and not (server.echo or self.has_publisher_apart(server)),
        }
        words += ["--rest", str(PING_SECONDS)] if self.kind == "rest" else []
        return [*words, *(flag for flag, wanted in flags.items() if wanted), *self.client.split()]

    def beside(self, server: Server) -> list[str]:
        """Return the arguments of the client whose echoes are measured beside a room."""
        raw = ["--raw"] if server.raw else []
        return ["--connections", str(BESIDE), "--size", "32", *raw]

    def _where(self, server: Server) -> list[str]:
        if self.setting not in ROOM_SETTINGS or server.echo:
            return []
        path = SOCKETIO_PATH if server.socketio else self.path or "/rooms/bench"
        return ["--path", path]


ROOM_SIZES = (1, 10, 100, 1_000, 10_000)
"""Members of the rooms that are measured"""


def _members(number: int) -> str:
    return "1 member" if number == 1 else f"{number:,} members"


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
    *(
        Row(
            f"64 B to {_members(number)}",
            number,
            size=64,
            text=True,
            kind="room",
            setting="rooms",
            quick=number == 100,
        )
        for number in ROOM_SIZES
    ),
    Row(
        "64 B to 100 members, 16 in flight",
        100,
        in_flight=16,
        size=64,
        text=True,
        kind="room",
        setting="rooms",
    ),
    *(
        Row(
            f"64 B to {_members(number)}, their worker alone",
            number,
            size=64,
            text=True,
            kind="delivery",
            setting="rooms",
            quick=number == 100,
        )
        for number in ROOM_SIZES
    ),
    Row(
        "32 B to two members in two workers",
        2,
        text=True,
        kind="spread",
        setting="spread",
        quick=True,
    ),
    Row(
        "32 B, 10 connections beside a room of 10,000",
        10_000,
        size=64,
        text=True,
        kind="beside",
        setting="rooms",
    ),
    Row(
        "Membership, of 10,000 in one room",
        10_000,
        kind="joined",
        setting="joining",
        path="/joining/one",
    ),
    Row(
        "Membership, of 10,000 in a room each",
        10_000,
        kind="joined",
        setting="joining",
        path="/joining/each",
    ),
)
