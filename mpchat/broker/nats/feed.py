"""One room's messages as they come from the stream, and what the next one tells about those before.

Rules. Each live message names the room's message before it (``prev``), so a gap shows: iff that is above
all that was seen. What is not above was seen, and is dropped: a new leader sends some again. A message
with no other before it proves nothing by itself, since the stream may have dropped them. While a feed is
busy with what it missed, what comes live waits.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum

from mpchat.jetstream.messages import Live, Stored

HELD = 1 << 20
"""Bytes of live messages that wait for those before them; more are dropped, and found again as a gap"""


class Verdict(IntEnum):
    """What a live message means."""

    SEEN = 0
    """It was seen: nothing"""
    NEXT = 1
    """There is nothing between what was seen and it"""
    GAP = 2
    """There are messages between"""
    ALONE = 3
    """The room had no message when it was stored; whether one was dropped before has to be asked"""


class Feed:
    """A room that members of this host are in, or are about to be.

    Attributes:
        name, token: The room's name, and what stands for it in subjects.
        is_open: All up to ``seen`` is known, and live messages come.
        is_busy: It is catching up: live messages wait in ``held``.
        seen: All of the room up to this sequence was seen.
        last, at: The room's newest message, and its time in wall milliseconds; 0: it has none that is
            known.
        is_closed: That is the room's end.
        kept: Records since ``keep`` was called first, for those who read what came before.
        losses: How often messages were gone before they were seen.
        users: Questions that are about this room and not answered.
    """

    __slots__ = (
        "at",
        "held",
        "held_bytes",
        "is_busy",
        "is_closed",
        "is_open",
        "kept",
        "last",
        "losses",
        "name",
        "readers",
        "seen",
        "token",
        "users",
    )

    def __init__(self, name: bytes, token: str) -> None:
        self.name, self.token = name, token
        self.is_open = self.is_busy = self.is_closed = False
        self.seen = self.last = self.at = 0
        self.held: deque[Live] = deque()
        self.held_bytes = 0
        self.kept: list[tuple[int, bytes]] = []
        self.readers = self.users = self.losses = 0

    def judge(self, live: Live) -> Verdict:
        """Return what a live message means; see Verdict."""
        if live.seq <= self.seen:
            return Verdict.SEEN
        if live.prev > self.seen:
            return Verdict.GAP
        return Verdict.NEXT if live.prev else Verdict.ALONE

    def hold(self, live: Live) -> None:
        """Let a live message wait; too many are forgotten together, as if they had never come."""
        self.held_bytes += len(live.data)
        if self.held_bytes > HELD:
            self.held.clear()
            self.held_bytes = 0
        else:
            self.held.append(live)

    def hold_first(self, live: Live) -> None:
        """Let a message wait that has come before all others that do."""
        self.held.appendleft(live)
        self.held_bytes += len(live.data)

    def release(self) -> Live | None:
        """Return the first message that waits."""
        if not self.held:
            self.held_bytes = 0
            return None
        live = self.held.popleft()
        self.held_bytes -= len(live.data)
        return live

    def stands_at(self, stored: Stored, *, closed: bool) -> None:
        """Take note of the room's newest message."""
        self.last, self.at, self.is_closed = stored.seq, stored.at_ms, closed
        self.seen = max(self.seen, stored.seq)

    def lose(self, first: int) -> None:
        """The stream begins at ``first``: what is before may be gone unseen, the newest message too."""
        self.losses += 1
        self.seen = first - 1
        self.last = self.at = 0
        self.is_closed = False

    @property
    def position(self) -> tuple[int, int]:
        """Where the room stands: its newest message and that one's time, else (what was seen, 0)."""
        if not self.last:
            return self.seen, 0
        return self.last, 0 if self.is_closed else self.at
