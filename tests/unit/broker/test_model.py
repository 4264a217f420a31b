"""The history against a list of everything that was ever published, whatever happens in between."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from mpchat.broker.history import History
from mpchat.broker.reading import Limits
from mpchat.ipc import records
from mpchat.ipc.records import CLOSED, Record
from tests.unit.broker.logs import ALL, WINDOW, Life, everything

ROOMS = ("a", "b", "quiet")
FEW = Limits(4, 700, 400)

PUBLISH = st.tuples(
    st.just("publish"), st.sampled_from((*"aaabbb", "quiet")), st.integers(0, 300), st.booleans()
)
OTHERS = st.sampled_from(
    (("commit",), ("commit",), ("restart",), ("close", "a"), ("close", "quiet"), ("lap",))
)
PAUSE = st.tuples(st.just("pause"), st.integers(0, WINDOW), st.integers(-(10**9), 10**9))
STEPS = st.lists(st.one_of(PUBLISH, PUBLISH, PUBLISH, OTHERS, PAUSE), max_size=60)


@dataclass
class Model:
    """Everything that was committed, and what is to be true of it."""

    history: type[History] = History
    said: list[Record] = field(default_factory=list)
    keys: int = 0
    staged: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.life = Life(self.history)
        self.marks = [self.life.log.mark]

    def run(self, steps: list[tuple[object, ...]]) -> None:
        """Take the steps, and look at all after each commit and each restart."""
        life = self.life
        for step in steps:
            match step:
                case ("publish", str(room), int(size), bool(keyed)):
                    self.keys += keyed
                    key = b"%016d" % self.keys if keyed else b""
                    self.staged.append(life.say(room, bytes(size), key=key, commit=False))
                case ("close", str(room)):
                    self.staged.append(life.say(room, b"", kind=CLOSED, commit=False))
                case ("commit",):
                    self.commit()
                case ("restart",):
                    self.restart()
                case ("lap",):
                    for _ in range(5):
                        self.staged.append(life.say("b", bytes(400), commit=False))
                    self.commit()
                case ("pause", int(pause), int(wall)):
                    self.commit()
                    life.now += pause
                    life.wall = max(0, life.wall + wall)
        self.commit()
        self.life.close()

    def restart(self) -> None:
        """Die before a commit, and look at all. A full segment may be written by then."""
        before = self.life.log.end
        kept = map(records.parse, everything(self.life.restart()))
        found = [record for record in kept if record.offset >= before]
        assert [record.offset for record in found] == self.staged[: len(found)]
        self.said += found
        self.staged.clear()
        self.check(restarted=True)

    def commit(self) -> None:
        """Commit, and look at all."""
        self.staged.clear()
        self.said += map(records.parse, self.life.log.commit())
        self.marks = [*self.marks[-5:], self.life.log.mark]
        self.check(restarted=False)

    def check(self, *, restarted: bool) -> None:
        """Compare the history with everything."""
        log = self.life.log
        assert not log.damage
        kept = [record for record in self.said if record.offset >= log.floor]
        assert list(map(records.parse, everything(log))) == kept
        assert log.mark == log.end - 1
        assert log.end > max((record.offset for record in self.said), default=0)
        positions = {0, log.floor - 1, *self.marks}
        positions |= {record.offset for record in self.said[-8:]}
        for room in ROOMS:
            of_room = [record for record in self.said if record.room == room.encode()]
            for position in positions:
                for limits in (ALL, FEW):
                    self.since(room, of_room, position, limits)
        self.ids(restarted)

    def since(self, room: str, of_room: list[Record], position: int, limits: Limits) -> None:
        """A room's records since a position are all there, or it is said that they are not."""
        log = self.life.log
        found = log.since(room.encode(), position, limits)
        newer = [record for record in of_room if record.offset > position]
        allowed: list[Record] = []
        held = 0
        for record in reversed(newer):
            size = records.size_of(record.room, record.user, record.key, record.payload)
            held += size
            within = held <= limits.bytes and self.life.now - record.stamp <= limits.age
            if record.kind == CLOSED or record.offset < log.floor or not within:
                break
            if len(allowed) == limits.messages:
                break
            allowed.insert(0, record)
        assert list(map(records.parse, found.records)) == allowed
        if found.recovered:
            assert allowed == newer
        elif position >= log.floor - 1:
            assert allowed != newer

    def ids(self, restarted: bool) -> None:
        """An id is known for the window, and forgotten at last."""
        log, now = self.life.log, self.life.now
        for record in self.said:
            answers = [log.find_own(7, record.counter)]
            if record.key:
                answers.append(log.find_key(record.key))
            for answer in answers:
                assert answer in {None, (record.offset, record.at)}
                if record.offset >= log.floor and now - record.stamp <= WINDOW:
                    assert answer is not None
                elif restarted:
                    assert answer is None


@settings(max_examples=100, deadline=None)
@given(STEPS)
@example([("publish", "a", 100, True), ("pause", WINDOW, 0), ("publish", "a", 100, False)])
def test_the_history_is_that_of_the_model(steps: list[tuple[object, ...]]) -> None:
    Model().run(steps)
