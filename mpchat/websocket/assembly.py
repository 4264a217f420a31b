"""A message that is not one plain frame: fragments are put together, compressed ones inflated.

Rules. A mistake is found as early as possible: text is decoded, and data inflated, as they arrive. Data
is inflated in steps, as the caller has time. The sizes of frames are checked before; what they inflate to
is checked here.
"""

from __future__ import annotations

import codecs
from typing import Any

from websockets.frames import CloseCode

from mpchat.websocket.deflate import CorruptData, Inflater, TooLarge
from mpchat.websocket.parts import Parts
from mpchat.websocket.state import State
from mpchat.websocket.thresholds import Thresholds

Message = str | bytes


class Refused(Exception):
    """A message breaks a rule: the reason, and the code of the Close that tells it."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Assembly:
    """One message.

    Attributes:
        is_final: The frame that is being inflated is the message's last.
        arrived: Bytes of its frames so far.
        began_empty: Its first frame was empty.
        size: Bytes of the message so far.
    """

    __slots__ = (
        "_decoder",
        "_inflater",
        "_joined_parts",
        "_max_size",
        "_parts",
        "_text",
        "arrived",
        "began_empty",
        "is_final",
        "size",
    )

    def __init__(
        self, text: bool, max_size: int, inflater: Inflater | None, thresholds: Thresholds
    ) -> None:
        self._text = text
        self._max_size = max_size
        self._joined_parts = thresholds.joined_parts
        self._inflater = inflater
        self._decoder: codecs.IncrementalDecoder | None = None
        self._parts: Parts[Any] | None = None
        self.is_final = False
        self.arrived = 0
        self.began_empty = False
        self.size = 0

    @property
    def is_compressed(self) -> bool:
        """Whether its frames have to be inflated."""
        return self._inflater is not None

    @property
    def is_inflating(self) -> bool:
        """Whether ``inflate`` has to be called again."""
        return self._inflater is not None and self._inflater.is_busy

    def add(self, payload: bytes, final: bool) -> Message | None:
        """Take the payload of the next frame, uncompressed; return the message with the final one.

        Raises:
            Refused: It is text that is not UTF-8.
        """
        self.arrived += len(payload)
        return self._add(payload, final)

    def begin_inflating(self, payload: bytes, final: bool) -> None:
        """Take the payload of the next frame of a compressed message, for ``inflate``."""
        self.arrived += len(payload)
        self.is_final = final
        if self._inflater is not None:
            self._inflater.begin(payload, final)

    def inflate(self) -> Message | None:
        """Inflate the next part of a frame; return the message with the last part of the final one.

        Raises:
            Refused: It cannot be inflated, is too large, or is text that is not UTF-8.
        """
        inflater = self._inflater
        if inflater is None:
            return None
        try:
            part = inflater.inflate(self._max_size - self.size)
        except TooLarge:
            reason = f"message of more than {self._max_size} bytes"
            raise Refused(CloseCode.MESSAGE_TOO_BIG, reason) from None
        except CorruptData:
            reason = "data that cannot be inflated"
            raise Refused(CloseCode.PROTOCOL_ERROR, reason) from None
        return self._add(part, self.is_final and not inflater.is_busy)

    def to_state(self) -> State | None:
        """Return the message so far; None if it is compressed and too long to be inflated once more.

        Text is kept as its bytes, since one of its letters may have come in part.
        """
        state: State = {
            "text": self._text,
            "began_empty": self.began_empty,
            "frames": None,
            "payload": b"",
        }
        if self._inflater is not None:
            replay = self._inflater.replay
            if replay is None:
                return None
            return {
                **state,
                "frames": list(replay.frames),
                "window": replay.window,
                "final": self.is_final,
                "busy": self.is_inflating,
            }
        joined: str | bytes = self._parts.join() if self._parts is not None else b""
        whole = joined.encode() if isinstance(joined, str) else joined
        if self._decoder is not None:
            whole += self._decoder.getstate()[0]
        return {**state, "payload": whole}

    def continue_from(self, state: State) -> None:
        """Go on where another message has left off; compressed frames are inflated again."""
        self.began_empty = state["began_empty"]
        if state["frames"] is None:
            self.add(state["payload"], final=False)
            return
        if self._inflater is not None:
            self._inflater.window = state["window"]
        *whole, last = state["frames"]
        for frame in whole:
            self._inflate_again(frame, final=False)
        if state["busy"]:
            self.begin_inflating(last, state["final"])
        else:
            self._inflate_again(last, final=state["final"])

    def _inflate_again(self, frame: bytes, *, final: bool) -> None:
        self.begin_inflating(frame, final)
        while self.is_inflating:
            self.inflate()

    def _add(self, payload: bytes, final: bool) -> Message | None:
        self.size += len(payload)
        part = self._decode(payload, final) if self._text else payload
        if self._parts is None:
            if final:
                return part
            self._parts = Parts("" if self._text else b"", self._joined_parts)
        self._parts.add(part)
        message: Message | None = self._parts.join() if final else None
        return message

    def _decode(self, payload: bytes, final: bool) -> str:
        try:
            if final and self._decoder is None:
                return payload.decode()
            if self._decoder is None:
                self._decoder = codecs.getincrementaldecoder("utf-8")()
            return self._decoder.decode(payload, final)
        except UnicodeDecodeError:
            raise Refused(CloseCode.INVALID_DATA, "text that is not UTF-8") from None
