"""What many connections are sent: written to each in order, over as many turns of the loop as it takes.

Rules. The recipients of an audience are sent the same, in one order. What is sent while others still get
what came before waits behind that, and so does a recipient that joins meanwhile: it gets what comes after
it. Deliveries are part of the turn's budget, and an audience gets a share of that: then it stands in the
line of open WebSockets, and what has come from others meanwhile is served before it goes on. Nobody waits
for a connection that does not read: one with more than ``most`` unsent bytes is closed. A recipient costs
no task, and an audience that is sent nothing has no delivery.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias

from mpchat.websocket.batch import Batch, Frame
from mpchat.websocket.budget import DELIVERY
from mpchat.websocket.limits import TOO_SLOW
from mpchat.websocket.phases import OWED
from mpchat.websocket.protocol import WebSocketProtocol
from mpchat.websocket.turn import Turn


class Item(Protocol):
    """Something to send, which looks different in each form."""

    @property
    def size(self) -> int:
        """Bytes that it holds."""

    @property
    def stamp(self) -> int:
        """When it came to the service, for ``on_delivered``; 0: nobody asks."""

    def frame(self, form: object) -> Frame | None:
        """Return the message for recipients with this form, None if they get none."""


class Parting:
    """The last thing that an audience is sent: each recipient is let go.

    Attributes:
        reason: Why.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: Exception) -> None:
        self.reason = reason


class Recipient:
    """One of an audience.

    Attributes:
        following, preceding: The neighbours in the audience.
        form: How it is sent items; None: it takes the items themselves, by ``take``.
        protocol: The connection.
    """

    __slots__ = ("following", "form", "preceding", "protocol")

    def __init__(self, form: object, protocol: WebSocketProtocol | None) -> None:
        self.following: Recipient | None = None
        self.preceding: Recipient | None = None
        self.form = form
        self.protocol = protocol

    def take(self, items: list[Item]) -> None:
        """Take items; called if there is no form."""
        raise NotImplementedError

    def part(self, reason: Exception) -> None:
        """Leave: the audience has ended."""
        raise NotImplementedError


Pending: TypeAlias = "Item | Recipient | Parting"


class Hall:
    """What all audiences of a worker share.

    Attributes:
        turn: The worker's.
        most: Unsent bytes beyond which a connection is closed.
        share: Work of a turn that one audience is given.
        held: Bytes that wait for their delivery.
        is_awaited: Somebody waits until they are fewer.
        on_delivered: Called when all have what belongs together, with the time of its first item.
        on_less: Called then, whenever they have become fewer.
    """

    __slots__ = (
        "_touched",
        "held",
        "is_awaited",
        "most",
        "on_delivered",
        "on_less",
        "share",
        "turn",
    )

    def __init__(self, turn: Turn, most: int) -> None:
        self.turn = turn
        self.most = most
        self.share = turn.thresholds.delivery_work
        self.held = 0
        self.is_awaited = False
        self.on_less: Callable[[], None] = _nothing
        self.on_delivered: Callable[[int], None] = _note_nothing
        self._touched: list[Audience] = []

    def touch(self, audience: Audience) -> None:
        """Have an audience delivered by the next ``deliver``."""
        self._touched.append(audience)

    def deliver(self) -> None:
        """Deliver all that was sent, as far as the turn's budget reaches."""
        touched, self._touched = self._touched, []
        for audience in touched:
            audience.deliver()


class Audience:
    """Recipients, in the order in which they joined.

    Attributes:
        first, last: The ends of the list.
    """

    __slots__ = ("_delivery", "first", "hall", "last")

    def __init__(self, hall: Hall) -> None:
        self.hall = hall
        self.first: Recipient | None = None
        self.last: Recipient | None = None
        self._delivery: Delivery | None = None

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is on its way."""
        return self._delivery is None

    def add(self, recipient: Recipient) -> None:
        """Add a recipient, behind all that was sent so far."""
        if self._delivery is not None:
            self._delivery.pending.append(recipient)
        else:
            self._append(recipient)

    def discard(self, recipient: Recipient) -> None:
        """Take a recipient out, wherever it stands."""
        delivery = self._delivery
        if delivery is not None:
            if delivery.cursor is recipient:
                delivery.cursor = recipient.following
            if recipient in delivery.pending:
                delivery.pending.remove(recipient)
                return
        before, after = recipient.preceding, recipient.following
        if before is not None:
            before.following = after
        elif self.first is recipient:
            self.first = after
        if after is not None:
            after.preceding = before
        elif self.last is recipient:
            self.last = before
        recipient.preceding = recipient.following = None

    def send(self, item: Item | Parting) -> None:
        """Send something to all, when the hall delivers."""
        delivery = self._delivery
        if delivery is None:
            delivery = self._delivery = Delivery(self)
        if not delivery.is_touched:
            delivery.is_touched = True
            self.hall.touch(self)
        delivery.pending.append(item)
        if not isinstance(item, Parting):
            self.hall.held += item.size

    def deliver(self) -> None:
        """Write what was sent, as far as the turn's budget reaches."""
        delivery = self._delivery
        if delivery is not None:
            delivery.is_touched = False
            if not delivery.is_waiting:
                self.go_on(delivery)

    def go_on(self, delivery: Delivery) -> None:
        """Write on; line up if there is more than the budget is enough for."""
        if delivery.write():
            self._delivery = None
        else:
            delivery.line_up()

    def _append(self, recipient: Recipient) -> None:
        recipient.preceding = self.last
        if self.last is None:
            self.first = recipient
        else:
            self.last.following = recipient
        self.last = recipient


class Delivery:
    """What an audience is being sent.

    Attributes:
        pending: What comes next, in order; recipients among it begin there.
        cursor: Who is next to be written to.
        is_waiting: It stands in line.
        is_touched: The hall will deliver it.
    """

    __slots__ = (
        "_audience",
        "_batches",
        "_floor",
        "_items",
        "_parting",
        "_size",
        "_stamp",
        "cursor",
        "is_touched",
        "is_waiting",
        "pending",
    )

    def __init__(self, audience: Audience) -> None:
        self._audience = audience
        self.pending: list[Pending] = []
        self.cursor: Recipient | None = None
        self.is_waiting = self.is_touched = False
        self._items: list[Item] = []
        self._floor = 0
        """What has to be left of the turn"""
        self._size = 0
        self._stamp = 0
        self._parting: Parting | None = None
        self._batches: dict[int, Batch | None] = {}

    def line_up(self) -> None:
        """Go on when others have had their turn."""
        self.is_waiting = True
        turn = self._audience.hall.turn
        turn.line_up(turn.open_line, self)

    def serve(self) -> None:
        """Write on; the turn calls this."""
        self.is_waiting = False
        self._audience.go_on(self)

    def write(self) -> bool:
        """Write until its share of the turn is used or all is written; whether all is."""
        hall = self._audience.hall
        self._floor = max(0, hall.turn.left - hall.share)
        while self._write_batch():
            if self._stamp:
                hall.on_delivered(self._stamp)
                self._stamp = 0
            if self._size:
                hall.held -= self._size
                self._size = 0
                if hall.is_awaited:
                    hall.on_less()
            if not self.pending or not self._next_batch():
                return True
        return False

    def _next_batch(self) -> bool:
        """Begin with what comes next, up to where a recipient joins."""
        audience, pending = self._audience, self.pending
        self._items = []
        self._batches = {}
        self._parting = None
        taken = size = 0
        for entry in pending:
            if isinstance(entry, Recipient):
                if self._items:
                    break
                audience._append(entry)
            elif isinstance(entry, Parting):
                if not self._items:
                    self._parting = entry
                    taken += 1
                break
            else:
                self._items.append(entry)
                size += entry.size
            taken += 1
        del pending[:taken]
        self._size = size
        self.cursor = audience.first
        if self._items and self.cursor is not None:
            self._stamp = self._items[0].stamp
        return bool(self._items) or self._parting is not None

    def _write_batch(self) -> bool:
        """Write to one after the other until the share is used; whether all have it."""
        if self.cursor is None:
            return True
        turn, most = self._audience.hall.turn, self._audience.hall.most
        form: object = None
        batch: Batch | None = None
        work = DELIVERY
        if not turn.will_publish:
            turn.publish_soon()
        while turn.left > self._floor:
            member = self.cursor
            if member is None:
                return True
            self.cursor = member.following
            if self._parting is not None:
                member.part(self._parting.reason)
            elif member.form is None:
                member.take(self._items)
            else:
                if member.form is not form:
                    form = member.form
                    batch = self._batch(form)
                    work = DELIVERY + (batch.size if batch is not None else 0)
                protocol = member.protocol
                if (
                    batch is not None
                    and protocol is not None
                    and protocol.phase < OWED
                    and not protocol.outgoing.send_batch(batch, most)
                ):
                    protocol.exceeds(TOO_SLOW)
            turn.left -= work
            if turn.left < turn.mark:
                turn.look()
        return self.cursor is None

    def _batch(self, form: object) -> Batch | None:
        """Return what recipients with this form are sent now; None: nothing."""
        key = id(form)
        if key not in self._batches:
            frames = [made for item in self._items if (made := item.frame(form)) is not None]
            self._batches[key] = Batch(frames) if frames else None
        return self._batches[key]


def _nothing() -> None:
    """Nobody waits."""


def _note_nothing(stamp: int) -> None:
    """Nobody asks how long it took."""
