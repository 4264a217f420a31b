"""The broker's frames, in order: what every message passes; the registry acts on all that is rare.

Rules. A record is sent on if somebody here is in its room, and it is behind the last one that was seen. A
frame that is too short for what it is raises MalformedFrame.
"""

from __future__ import annotations

from collections.abc import Callable

from mpchat.ipc.answering import ACK_BYTES, ACK_COUNTER, ACK_OFFSET, ACK_TIME
from mpchat.ipc.framing import MalformedFrame
from mpchat.ipc.numbers import u64_at
from mpchat.ipc.records import AT, FIRST_OTHER_KIND, HEADER, MESSAGE, OFFSET, STAMP
from mpchat.ipc.rooms import ACK
from mpchat.rooms.publishing import Publishing
from mpchat.rooms.subscription import LIVE, Sent, Subscription, message_of

# What every message needs, as compiled code takes it.
_ACK, _MESSAGE, _FIRST_OTHER_KIND = ACK, MESSAGE, FIRST_OTHER_KIND
_AT, _OFFSET, _STAMP, _HEADER_BYTES = AT, OFFSET, STAMP, HEADER.size
_ACK_BYTES, _ACK_COUNTER, _ACK_OFFSET, _ACK_TIME = ACK_BYTES, ACK_COUNTER, ACK_OFFSET, ACK_TIME
_LIVE = LIVE


class Stream:
    """What a worker hears of its broker.

    Attributes:
        epoch: That of the broker's history.
    """

    __slots__ = ("_act", "_close", "_find", "_publishing", "epoch")

    def __init__(
        self,
        find: Callable[[bytes], Subscription | None],
        publishing: Publishing,
        close: Callable[[Subscription], None],
        act: Callable[[int, bytes], None],
    ) -> None:
        """Tell of rooms that were closed, and of frames that are neither records nor acknowledgements."""
        self.epoch = ""
        self._find = find
        self._publishing = publishing
        self._close = close
        self._act = act

    def receive(self, frames: list[bytes]) -> None:
        """Act on frames in their order.

        Raises:
            MalformedFrame: One of them is not as it has to be.
        """
        for frame in frames:
            kind = frame[4]
            if kind < _FIRST_OTHER_KIND:
                if len(frame) <= _HEADER_BYTES:
                    raise MalformedFrame(f"a record of {len(frame)} bytes")
                room = self._find(frame[_HEADER_BYTES : _HEADER_BYTES + frame[6]])
                if room is not None and room.stage is _LIVE:
                    self.take(room, frame)
            elif kind == _ACK:
                if len(frame) != _ACK_BYTES:
                    raise MalformedFrame(f"ACK of {len(frame)} bytes")
                counter, offset = u64_at(frame, _ACK_COUNTER), u64_at(frame, _ACK_OFFSET)
                self._publishing.stored(counter, offset, u64_at(frame, _ACK_TIME))
            else:
                self._act(kind, frame)

    def take(self, room: Subscription, record: bytes) -> None:
        """Send a record of this room on, unless it was seen."""
        offset = u64_at(record, _OFFSET)
        if offset <= room.offset:
            return
        if record[4] == _MESSAGE:
            room.send(Sent(message_of(record, self.epoch), u64_at(record, _STAMP)))
        else:
            self._close(room)
        # Behind what may fail: it was not seen otherwise.
        room.offset = offset
        room.at = u64_at(record, _AT)
