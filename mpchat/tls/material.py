"""What the listeners show their clients, as it travels from the template to those who serve them.

Rules. It has private keys: it goes to workers and to the console, in a sealed memfd, and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from mpchat.tls.pair import Pair

CLIENTS, OPERATORS = "listener", "listener-monitor"
"""The listeners, by their sections."""


@dataclass(frozen=True)
class Material:
    """The certificates of one listener, and the authorities of its clients' certificates."""

    pairs: tuple[Pair, ...]
    ca: bytes = b""
    """PEM; empty if clients need no certificate"""


def pack(listeners: Mapping[str, Material]) -> bytes:
    """Return the material of listeners, by name, in the form for a memfd."""
    return json.dumps(
        {
            name: {"ca": one.ca.decode("latin-1"), "pairs": [pair.to_json() for pair in one.pairs]}
            for name, one in listeners.items()
        }
    ).encode()


def unpack(content: bytes) -> dict[str, Material]:
    """Return what ``pack`` was given."""
    return {
        name: Material(
            tuple(Pair.from_json(pair) for pair in one["pairs"]), one["ca"].encode("latin-1")
        )
        for name, one in json.loads(content).items()
    }
