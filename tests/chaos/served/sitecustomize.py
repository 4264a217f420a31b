"""Switches measures off in every process of a tortured service: the torture has to notice.

Python imports this module first in each process, since its folder is in PYTHONPATH; a variable names
them. The product has no option for it: its code is changed when it is imported (tests/mutants.py). The
same way leads a broker to its death (deaths.py), which is no measure.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

WITHOUT = "MPCHAT_CHAOS_WITHOUT"
"""Names of MEASURES, with commas between"""

_OWN_SOCKETS = """
for source in sources:
    if self._spare is None and _is_inbox(source):
        self._spare = Spare()
    if source.family != socket.AF_UNIX:
        own = socket.socket(source.family)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        own.bind(source.getsockname())
        own.listen(4096)
        source = own
    source.setblocking(False)
    self._sources[source] = self._take_from(source)
    self._watch(source)
"""
# The descriptors that come with the bytes are left behind by not asking for them.
_EMPTY_INBOX = """
try:
    while True:
        self._sockets.inboxes.of(worker.slot).recv(1)
except BlockingIOError:
    pass
words = worker.last_words()
"""
_NO_HANG = """
import dataclasses
loaded = dataclasses.replace(loaded, plan=dataclasses.replace(loaded.plan, hang_timeout=1e9))
self._editions = self.next_edition
"""

# Past uvloop, which writes at the end of its turn.
_ANSWER_FIRST = """
import time
for pair, flags, counter, offset, at in acks:
    pair._sock.send(pack_ack(flags, counter, offset, at))
acks.clear()
time.sleep(0.02)
records = history.commit()
"""

# Module, function, its code, and what is there instead.
MEASURES: dict[str, tuple[tuple[str, str, str, str], ...]] = {
    # A drain closes all connections at once.
    "spread": (
        (
            "server.drain",
            "Drain._close",
            "closing_times(len(connections), window, deadline, self._random_part)",
            "[0.0] * len(connections)",
        ),
    ),
    # A drain closes without waiting for the handler.
    "answers": (("websocket.life", "Life.drain", "self._on(Event.DRAIN)", "self.close(code, '')"),),
    # A drain cuts connections off.
    "close_handshake": (("websocket.life", "Life.drain", "self._on(Event.DRAIN)", "self.abort()"),),
    # Listening sockets belong to workers and end with them, as those of most servers do. The supervisor's
    # are bound as before, to keep the port, and do not listen.
    "kept_sockets": (
        (
            "supervisor.listeners",
            "Listeners._listen",
            "system.listen(sock, self._backlog)",
            "None",
        ),
        (
            "server.accepting",
            "Acceptor.add",
            """
for source in sources:
    if self._spare is None and _is_inbox(source):
        self._spare = Spare()
    source.setblocking(False)
    self._sources[source] = self._take_from(source)
    self._watch(source)
""",
            _OWN_SOCKETS,
        ),
    ),
    # A new worker counts from zero.
    "continued_totals": (
        (
            "scoreboard.scoreboard",
            "Row.__init__",
            "self._items = items",
            "for index in range(len(items)):\n    items[index] = 0\nself._items = items",
        ),
    ),
    # Nobody notices that the supervisor is gone.
    "farewell": (
        (
            "worker.worker",
            "_Worker._finish",
            "not self.end.done()",
            "end is not End.NOW and not self.end.done()",
        ),
        ("monitor.monitor", "_Watched.kill_after", "self._pidfds.items()", "()"),
    ),
    # A worker keeps what it accepts.
    "passing_on": (("server.balance", "Balance.pass_on", "not self._outboxes", "True"),),
    # What was passed on to a worker ends with it.
    "kept_inboxes": (
        ("supervisor.pool", "Pool.ended", "words = worker.last_words()", _EMPTY_INBOX),
    ),
    # A worker may stand still for ever.
    "hang_detection": (
        ("supervisor.editions", "Editions.promote", "self._editions = self.next_edition", _NO_HANG),
    ),
    # Nobody accepts for a slot whose worker does not.
    "adoption": (("supervisor.adoption", "Adoption.assign", "wanted = set(needy)", "return []"),),
    # A worker that crashed is started again at once.
    "backoff": (("supervisor.backoff", "Backoff.failed", "timing = self._timing", "return 0.0"),),
    # A restart ends the old workers first.
    "new_before_old": (
        (
            "supervisor.restarting",
            "Restarting.ask",
            "self._restart.ask(slot, askers)",
            "[child.kill() for child in self._pool._children.values()], self._restart.ask(slot, askers)",
        ),
    ),
}

# What keeps rooms together; the last two are measures of clients.
MEASURES |= {
    # A worker does not tell a new broker what the last one has not answered.
    "repeats": (
        (
            "rooms.publishing",
            "Publishing.repeat",
            "self._link.send(one.what.pack(counter))",
            "None",
        ),
    ),
    # A new broker knows no ids.
    "ids": (("broker.recovery", "_scan", "stamp >= horizon", "False"),),
    # A room goes on at its end when the broker is another one.
    "resuming": (
        (
            "rooms.questions",
            "Resuming.pack",
            "Subscribe(self.number, room.name, room.counted, self.since)",
            "Subscribe(self.number, room.name, room.counted, None)",
        ),
    ),
    # Publishes are answered before they are stored.
    "stored_first": (
        ("broker.broker", "Broker._turn", "records = history.commit()", _ANSWER_FIRST),
    ),
    # The members of a worker that is gone stay.
    "presence": (
        (
            "broker.broker",
            "Broker.lose",
            "for name, listed in self.members.drop_all(pair): self._hints.left(name, listed)",
            "pass",
        ),
    ),
    # Whoever comes back is told that nothing is missing.
    "gaps": (
        (
            "broker.reading",
            "walk_back",
            "_page(segments, places, recovered)",
            "_page(segments, places, True)",
        ),
    ),
    # Whoever comes back is told that something is missing.
    "recovery": (("broker.questions", "Questions._since", "found.recovered", "False"),),
    # Clients forget where they were.
    "position": (
        ("tests.chaos.members", "_Member.connect", "visit.since = self.position", "pass"),
    ),
    # Clients repeat what they said by a new id.
    "same_id": (
        (
            "tests.chaos.members",
            "_Member._send",
            "str(publish.message)",
            "f'{publish.message}.{publish.sends}'",
        ),
        (
            "tests.chaos.room_client",
            "RoomClient._take",
            "int(frame['ack'])",
            "int(frame['ack'].split('.')[0])",
        ),
        (
            "tests.chaos.room_client",
            "RoomClient._take",
            "int(frame['nack'])",
            "int(frame['nack'].split('.')[0])",
        ),
    ),
}
_FATE = "__import__('deaths').FATE"
MEASURES["deaths"] = (
    (
        "broker.segments",
        "Segments.write",
        "system.pwrite(self._descriptor, content, place)",
        f"{_FATE}.write(self._descriptor, content, place)",
    ),
    (
        "broker.broker",
        "Broker._turn",
        "acks.clear()",
        f"acks.clear(), {_FATE}.stored()",
    ),
    ("broker.broker", "Broker._turn", "pair.send()", f"{_FATE}.send(pair)"),
)


def module_of(name: str) -> str:
    """Return the whole name of a module as it stands in MEASURES: the product's, or the clients' own."""
    return name if name.startswith("tests.") else f"mpchat.{name}"


if names := os.environ.get(WITHOUT):
    # At the end: nothing of the project's folder hides what the service imports.
    sys.path.append(str(Path(__file__).parents[3]))
    from tests.mutants import Mutation, plant

    plant(
        *(
            Mutation(module_of(module), *change)
            for name in names.split(",")
            for module, *change in MEASURES[name]
        )
    )
