"""All attacks: what attackers do, the options that are there against it, and what these promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

KIB = 1024
CONNECTION = 16 * KIB
"""What one client costs that has nothing under way: connection, handler's task, a short message."""
TLS = 16 * KIB
"""What TLS adds to it."""
SHAKING = 48 * KIB
"""What a handshake of TLS costs that has begun and does not end."""


@dataclass(frozen=True)
class Attack:
    """One row of the page.

    Attributes:
        name: What `python -m tests.attacks NAME` runs; ``what``: what is done.
        kind: What each attacker does, one of attackers.KINDS.
        limits: Those that have to have ended somebody.
        each: Bytes that an attacker may cost while it is there, by what the options promise.
        handler, listener, server, dynamic: Options beside the defaults.
        descriptors: RLIMIT_NOFILE of the service, if that is what runs out.
        tls: Whether everybody comes by TLS.
    """

    name: str
    what: str
    kind: str
    limits: tuple[str, ...]
    each: int = CONNECTION
    handler: Mapping[str, Any] = field(default_factory=dict)
    listener: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    dynamic: Mapping[str, Any] = field(default_factory=dict)
    descriptors: int = 0
    tls: bool = False

    @property
    def options(self) -> dict[str, Any]:
        """What is not default, for a reader."""
        limits = self.dynamic.get("MPCHAT_LIMITS", {})
        return {**self.listener, **self.server, **self.handler, **limits}


def attacks(attackers: int, honest: int) -> tuple[Attack, ...]:
    """Return all of them, with limits that fit so many."""
    plain = _plain_attacks(attackers, honest)
    again = [attack for attack in plain if attack.name in _AGAIN]
    return (
        *plain,
        *(
            replace(
                attack,
                name=f"tls-{attack.name}",
                what=f"{attack.what}, by TLS",
                each=attack.each + TLS,
                tls=True,
            )
            for attack in again
        ),
        *_attacks_within_tls(),
    )


_AGAIN = frozenset(("bytes", "deaf"))
"""Attacks that are tried by TLS as well: those who send much, and who read nothing."""


def _attacks_within_tls() -> tuple[Attack, ...]:
    return (
        Attack(
            "tls-hellos",
            "handshakes of TLS that are left once they are answered",
            "hellos",
            (),
            each=SHAKING,
            tls=True,
        ),
        Attack(
            "tls-halves",
            "halves of a ClientHello",
            "half",
            ("handshake-timeout",),
            server={"handshake-timeout": "2s"},
            tls=True,
        ),
        Attack(
            "tls-stale",
            "handshakes of TLS that are answered and never end",
            "stale",
            ("handshake-timeout",),
            each=SHAKING,
            server={"handshake-timeout": "2s"},
            tls=True,
        ),
        Attack(
            "tls-key-updates",
            "floods of key updates",
            "key updates",
            ("max-control-frames-per-second",),
            each=CONNECTION + TLS + 64 * KIB,
            # Fewer than are sent at once: to make them takes longer than to judge them.
            handler={"max-control-frames-per-second": 20},
            tls=True,
        ),
        Attack(
            "tls-empty",
            "floods of records without data",
            "empty records",
            ("max-control-frames-per-second",),
            each=CONNECTION + TLS + 64 * KIB,
            handler={"max-control-frames-per-second": 20},
            tls=True,
        ),
    )


def _plain_attacks(attackers: int, honest: int) -> tuple[Attack, ...]:
    part = attackers // 4
    return (
        Attack(
            "listener",
            "more connections than the listener takes",
            "silent",
            ("listener.max_connections",),
            listener={"max_connections": part + honest},
        ),
        Attack(
            "worker",
            "more connections than a worker takes",
            "silent",
            ("listener.max_connections_per_worker",),
            listener={"max_connections_per_worker": (part + honest) // 2},
        ),
        Attack(
            "service",
            "more connections than the service takes",
            "silent",
            ("MPCHAT_LIMITS.max_connections",),
            dynamic={"MPCHAT_LIMITS": {"max_connections": part + honest}},
        ),
        Attack(
            "address",
            "more connections than one address may have",
            "silent",
            ("MPCHAT_LIMITS.max_connections_per_address",),
            dynamic={"MPCHAT_LIMITS": {"max_connections_per_address": part + honest}},
        ),
        Attack(
            "handshakes",
            "handshakes that drip and never end",
            "head",
            ("listener.max_handshakes", "handshake-timeout"),
            listener={"max_handshakes": part},
            server={"handshake-timeout": "2s"},
        ),
        Attack(
            "messages",
            "floods of small messages",
            "messages",
            ("max-messages-per-second",),
            each=CONNECTION + 64 * KIB,
            handler={"max-messages-per-second": 100},
        ),
        Attack(
            "bytes",
            "floods of messages of 60,000 bytes",
            "bytes",
            ("max-bytes-per-second",),
            each=CONNECTION + 256 * KIB,
            handler={"max-bytes-per-second": 100_000},
        ),
        Attack(
            "size",
            "messages that say they are of a tebibyte",
            "large",
            ("max-remote-payload",),
            each=CONNECTION + 64 * KIB,
        ),
        Attack(
            "pings",
            "floods of pings",
            "pings",
            ("max-control-frames-per-second",),
            each=CONNECTION + 64 * KIB,
        ),
        Attack(
            "empty",
            "empty fragments without end",
            "empty",
            ("max-control-frames-per-second",),
            each=CONNECTION + 64 * KIB,
        ),
        Attack(
            "fragments",
            "fragments of one byte without end",
            "fragments",
            ("max-messages-per-second",),
            each=CONNECTION + 64 * KIB,
            handler={"max-messages-per-second": 100},
        ),
        Attack(
            "drip",
            "messages of which a byte comes now and then",
            "drip",
            ("message-timeout",),
            each=CONNECTION + 64 * KIB,
            handler={"message-timeout": "2s"},
        ),
        Attack(
            "deaf",
            "clients that send and never read",
            "deaf",
            ("write-timeout",),
            # Beside write-limit what one read brings: uvloop's buffer is 256 KB.
            each=CONNECTION + 16 * KIB + 256 * KIB,
            handler={"write-limit": 16 * KIB, "write-timeout": "2s"},
        ),
        Attack(
            "idle",
            "clients that say nothing",
            "silent",
            ("idle-timeout",),
            handler={"idle-timeout": "2s"},
        ),
        Attack(
            "descriptors",
            "more connections than there are descriptors",
            "head",
            ("descriptors", "handshake-timeout"),
            server={"handshake-timeout": "2s"},
            # Enough to start with, and for the honest ones.
            descriptors=40 + honest // 2 + attackers // 16,
        ),
    )
