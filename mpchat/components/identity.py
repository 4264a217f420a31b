"""Who a connection or request belongs to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Identity:
    """What a checker finds out: who somebody is, and until when that is known.

    Attributes:
        user: The user's name; it is no secret, and shows in ``mpchat connections``.
        tags: Words for the author and for ``Connections``, such as roles or tenants.
        expires: When this is no longer sure, in seconds since 1970; None: never.
    """

    user: str
    tags: frozenset[str] = frozenset()
    expires: float | None = None
