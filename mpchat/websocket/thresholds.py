"""The numbers by which connections are served: sizes, counts and times that no option sets.

They are parameters of the code that uses them, so that a test can pass others, also to compiled code. The
costs of each kind of work are in ``budget``.
"""

from __future__ import annotations

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class Thresholds:
    """One set of them; the defaults are those of a worker."""

    # A turn of the loop, see turn

    turn_work: int = 5_000_000
    """Units of work that one turn of the loop does for all connections together."""
    turn_seconds: float = 0.005
    """Seconds after which a turn is over, however little work was done."""
    delivery_work: int = 1_250_000
    """Units of work of a turn that one audience of many is given, see broadcast."""
    clock_looks: int = 8
    """Looks at the clock while the work of one turn is used up."""
    max_frames: int = 128
    """Frames of one connection that are parsed at a time."""
    max_frames_in_crowd: int = 16
    """The same while more than ``crowd`` connections wait."""
    crowd: int = 8
    max_kept_bytes: int = 16 * MIB
    """Bytes that a worker has read and not parsed, beyond which it reads no client that waits."""
    max_body_bytes: int = 16 * MIB
    """Bytes of request bodies that a worker holds; more if a single one may be larger."""
    publish_seconds: float = 0.01
    """Largest age of the published counters of messages."""

    timed_every: int = 16
    """Messages of a worker, of which the answer to one is timed."""

    # Timers, see wheel

    tick_seconds: float = 0.05
    """Resolution of the wheel."""
    max_expired: int = 4
    """Members expired in one turn. Closing a socket with a full queue takes a fifth of a millisecond."""

    # Before HTTP, see server/arriving

    arrival_seconds: float = 3.0
    """Seconds for a PROXY header."""
    max_arriving: int = 1024
    """Sockets of one worker whose PROXY header has not come."""

    # TLS handshakes, see tls/handshakes

    max_tls_handshakes: int = 1024
    """Handshakes of one worker that have begun, of 41 KiB each."""
    max_tls_handshake_bytes: int = 128 * KIB
    """Bytes of a client's handshake: OpenSSL takes 100 KiB of certificates."""
    max_tls_controls: int = 128
    """Records without data of a client that is no WebSocket yet; others have an option."""
    tls_steps: int = 2
    """Steps of handshakes in one turn. With 64 clients at once, again and again, a neighbour's echo took
    up to 3 ms with one step a turn, 4.5 ms with four, 31 ms without a limit."""

    # Reading, see protocol and bulk

    large_read: int = 64 * KIB
    """A read this large switches the connection to bulk reading and yields to others."""
    max_behind: int = 64 * KIB
    """Bytes read, in addition to one read, that the handler has not taken, before reading pauses."""
    max_taken: int = 32
    """Messages that a handler takes without waiting, before it yields to the loop."""
    bulk_read: int = 192 * KIB
    """Largest bulk read at a frame's beginning: it bounds what one client can make us buffer."""
    bulk_read_when_spent: int = 16 * KIB
    """The same when the work of the turn is used up."""
    max_unread_in_kernel: int = 1 * MIB
    """Largest SO_RCVBUF, for handlers that take larger messages than the listener's own bound."""

    # Parsing, see parser

    large_payload: int = 4 * KIB
    """Payloads of at least this size are unmasked from a view instead of a copy."""
    buffered_payload: int = 16 * KIB
    """Frames with at least this payload get a receive buffer of their own, ..."""
    buffered_part: int = 16
    """... once one in this many of their bytes has arrived: a forged length must not reserve memory."""
    checked_text: int = 1 * KIB
    """Bytes at the beginning of a text that are checked before its frame is complete."""
    max_uncommon: int = 256 * KIB
    """Bytes in large waiting messages at which parsing yields: a few bytes may inflate to this many."""
    joined_parts: int = 256
    """Parts that are joined at a time: parts of one byte then take a fifth more than their bytes."""

    # Compression, see deflate

    min_deflated: int = 128
    """Smallest message that is compressed: below it, less is saved than a packet's headers."""
    inflate_step: int = 64 * KIB
    """Bytes that go into or come out of zlib in one step, a tenth of a millisecond."""
    max_streams: int = 16
    """Deflate streams in one frame; each block with BFINAL set ends one (RFC 7692, 7.2.3.4)."""
    max_replayed: int = 64 * KIB
    """Bytes kept of a compressed message that has begun, so that its connection can move."""

    # Writing, see outgoing

    max_gathered: int = 64 * KIB
    """Payload bytes of gathered replies that are written before the turn's end."""
    separate_payload: int = 16 * KIB
    """Payloads of at least this size are written without being joined to their headers."""
    max_fragments: int = 4096
    """Fragments of one message; a longer message gets larger fragments instead.

    The default limit of websockets' clients; with a tiny size its messages would never arrive.
    """
    max_parts: int = 64
    """With more parts than this, joining them costs less than handing each to the transport."""
    max_unsent_in_kernel: int = 1 * MIB
    """Largest TCP_NOTSENT_LOWAT, for handlers whose fragments are larger than the listener's own."""

    # Limits on a client, see limits

    catch_up_seconds: float = 5.0
    """Seconds' worth of messages that a client may send at once after a silence."""
    idle_looks: int = 4
    """Checks for new messages within one ``idle-timeout``."""
    uptake_looks: int = 4
    """Checks within a timeout of whether the client has taken anything."""
    expiry_look_seconds: float = 60.0
    """Seconds between two looks at the clock by which an identity expires."""
