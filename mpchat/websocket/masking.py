"""The mask of a client's frames (RFC 6455, section 5.3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from websockets import utils

Mask = Callable[[bytes | memoryview, bytes | memoryview], bytes]
try:
    from websockets import speedups

    apply_mask = cast(Mask, speedups.apply_mask)
except ImportError:  # no compiler where websockets was built

    def apply_mask(data: bytes | memoryview, mask: bytes | memoryview) -> bytes:
        """Return the data with the mask applied, in Python."""
        return utils.apply_mask(bytes(data), bytes(mask))
