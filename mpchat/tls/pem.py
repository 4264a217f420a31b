"""PEM (RFC 7468): the blocks of a file of certificates or keys.

Rules. A block begins and ends where OpenSSL sees it, so both read the same ones. Text between blocks is
allowed: tools write explanations there. A block without its end is an error, for the file may be half
written.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,64})-----")


class Block(NamedTuple):
    """One block: its label, such as ``CERTIFICATE``, and the lines between begin and end."""

    label: str
    lines: list[bytes]

    @property
    def is_key(self) -> bool:
        """Whether it is a private key, in one of its several formats."""
        return self.label.endswith("PRIVATE KEY")

    @property
    def is_encrypted(self) -> bool:
        """Whether a key needs a passphrase."""
        # The second form is OpenSSL's older one: a header in the block (RFC 1421).
        return self.label == "ENCRYPTED PRIVATE KEY" or any(
            line.startswith(b"Proc-Type:") and b"ENCRYPTED" in line for line in self.lines
        )

    def decode(self) -> bytes:
        """Return the content.

        Raises:
            ValueError: The lines are no base64.
        """
        try:
            return binascii.a2b_base64(b"".join(self.lines), strict_mode=True)
        except binascii.Error as error:
            raise ValueError(
                f"the block {self.label} is damaged: its lines are no base64"
            ) from error


def read_blocks(pem: bytes) -> Iterator[Block]:
    """Yield the blocks of a file in their order.

    Raises:
        ValueError: A block has no end, or the end of another.
    """
    label = None
    lines: list[bytes] = []
    for whole in pem.splitlines():
        line = whole.rstrip()
        if label is None:
            if begin := _BEGIN.fullmatch(line):
                label, lines = begin[1].decode(), []
        elif line == b"-----END %s-----" % label.encode():
            yield Block(label, lines)
            label = None
        elif line.startswith(b"-----"):
            break
        else:
            lines.append(line)
    if label is not None:
        raise ValueError(f"the block {label} has no end; is the file half written?")
