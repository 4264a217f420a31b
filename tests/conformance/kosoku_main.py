"""kosoku's command, with a mistake of its release 0.1.0 mended in the cases of groups 12 and 13.

They hash what comes back, so they need bytes, as the original gives them. kosoku gives them bytes only if
the reply was compressed, else a string with a character for each byte; and a server may send any message
uncompressed (RFC 7692, section 6).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from kosoku._caseindex import initialize_shims
from kosoku._cli import main

OnMessage = Callable[[Any, Any, bool], None]


def with_bytes(on_message: OnMessage) -> OnMessage:
    """Return the case's method for a case that needs bytes."""

    def call(self: Any, message: str | bytes, binary: bool) -> None:
        data = message.encode("latin-1") if isinstance(message, str) else message
        on_message(self, data, binary)

    return call


if __name__ == "__main__":
    initialize_shims()
    module = importlib.import_module("case12_x_x")
    for case in (*module.Case12_X_X, *module.Case13_X_X):
        case.onMessage = with_bytes(case.onMessage)
    main()
