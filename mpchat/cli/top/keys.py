"""Keys, from the bytes that a terminal sends for them (ECMA-48, and xterm's and vt100's arrows).

Rules. Reads may end anywhere within a sequence. The key Esc is a sequence's first byte with nothing
behind it: whoever reads says when nothing has followed for a moment. Unknown sequences are no keys.
"""

from __future__ import annotations

import re

ESCAPE_SECONDS = 0.05
"""Seconds within which the rest of a sequence follows, also over ssh."""
_ESCAPE = 0x1B
_SEQUENCE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|O[ -~])")
_BEGINNING = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|O)?")
_NAMES = {
    **{
        bytes([0x1B, lead, final]): name
        for lead in b"[O"
        for final, name in zip(
            b"ABCDHF", ("up", "down", "right", "left", "home", "end"), strict=True
        )
    },
    b"\x1b[1~": "home",
    b"\x1b[4~": "end",
    b"\x1b[5~": "pageup",
    b"\x1b[6~": "pagedown",
    b"\r": "enter",
    b"\n": "enter",
}


class Keys:
    """Takes what was read, and returns the keys that are complete."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def are_waiting(self) -> bool:
        """Whether a sequence has begun that may go on."""
        return self._rest != b""

    def feed(self, data: bytes) -> list[str]:
        """Return the keys in order: printable characters as they are, others by name."""
        data = self._rest + data
        found, at = [], 0
        while at < len(data):
            if data[at] != _ESCAPE:
                end = at + 1
            elif sequence := _SEQUENCE.match(data, at):
                end = sequence.end()
            elif _BEGINNING.fullmatch(data, at):
                break
            else:
                # Esc, and a key of its own that was pressed within the same moment.
                found.append("escape")
                at += 1
                continue
            found += _key(data[at:end])
            at = end
        self._rest = data[at:]
        return found

    def flush(self) -> list[str]:
        """Return what the bytes that wait are, since nothing has followed them."""
        waiting, self._rest = self._rest, b""
        return ["escape"] if waiting else []


def _key(data: bytes) -> list[str]:
    if name := _NAMES.get(data):
        return [name]
    # A byte of another character than ASCII's is no key of ours.
    return [data.decode()] if len(data) == 1 and 0x20 <= data[0] < 0x7F else []
