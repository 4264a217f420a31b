"""An identity as the payload of a cookie or a ticket."""

from __future__ import annotations

import json

from mpchat.components.identity import Identity


def to_payload(identity: Identity, *more: str | float) -> bytes:
    """Return the identity and ``more`` as JSON."""
    return json.dumps(
        [identity.user, sorted(identity.tags), identity.expires, *more], separators=(",", ":")
    ).encode()


def from_payload(payload: bytes) -> tuple[Identity, list[str | float]]:
    """Return what ``to_payload`` was given; the signature has shown that we have written it."""
    user, tags, expires, *more = json.loads(payload)
    return Identity(user, frozenset(tags), expires), more
