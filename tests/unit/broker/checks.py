"""What a history must do; each check takes the class, which may have a planted mistake."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest

from mpchat.broker.history import History
from mpchat.broker.reading import PAGE, Limits
from mpchat.ipc import records
from mpchat.ipc.records import CLOSED, UNKNOWN
from tests.cuts import recorded
from tests.unit.broker.logs import ALL, WINDOW, Life, calls, everything, flipped

Check = Callable[[type[History]], None]
KEY, OTHER = b"k" * 16, b"o" * 16


def offsets_rise_over_all_rooms_and_lives(history: type[History]) -> None:
    life = Life(history)
    offsets = []
    for n in range(100):
        offsets.append(life.say(f"r{n % 7}", bytes(n)))
        assert life.log.last(b"r%d" % (n % 7)) == (offsets[-1], life.wall, False)
        if n % 9 == 0:
            end, epoch = life.log.end, life.log.epoch
            life.restart()
            assert (life.log.end, life.log.epoch, life.log.damage) == (end, epoch, "")
    assert offsets == sorted(set(offsets))
    assert len(life.log.epoch) == 16


def a_position_that_has_seen_everything_is_below_the_next_message(history: type[History]) -> None:
    """Trap: with the end as position, the next message would pass for seen."""
    life = Life(history)
    for room in ("a", "b", "a"):
        mark = life.log.mark
        assert life.since(room, mark) == (True, [])
        offset = life.say(room)
        assert life.since(room, mark) == (True, [offset])
        assert life.since(room, life.log.mark) == (True, [])
    mark = life.log.mark
    life.restart()
    assert life.log.mark == mark


def members_get_the_very_bytes_that_are_stored(history: type[History]) -> None:
    life = Life(history)
    life.say("a", b"first", commit=False)
    life.say("b", memoryview(b"second"), key=KEY, commit=False)  # type: ignore[arg-type]
    committed = life.log.commit()
    assert committed == everything(life.log)
    assert life.log.commit() == []
    first, second = map(records.parse, committed)
    assert (first.room, first.user, first.payload, first.key) == (b"a", b"ann", b"first", b"")
    assert (second.room, second.payload, second.key) == (b"b", b"second", KEY)
    assert (second.at, second.stamp, second.incarnation) == (life.wall, life.now, 7)
    assert first.prev == second.prev == UNKNOWN | life.log.floor - 1
    assert life.since("a", 0) == (False, [first.offset])


def a_turn_is_one_write(history: type[History]) -> None:
    life = Life(history, segment=1 << 18)
    with calls("pwrite") as noted:
        for n in range(100):
            life.say("a", b"%d" % n, commit=False)
        assert not noted
        assert len(life.log.commit()) == 100
    assert len(noted) == 1


def a_turn_over_segments_is_answered_whole_and_in_order(history: type[History]) -> None:
    life = Life(history)
    offsets = [life.say("a", bytes(100), commit=False) for _ in range(14)]
    assert offsets[-1] // life.log.segment_size == 3
    with pytest.raises(RuntimeError):
        life.since("a", 0)
    committed = life.log.commit()
    assert list(map(records.offset_of, committed)) == offsets
    assert life.since("a", 0) == (False, offsets)
    assert everything(life.restart()) == committed


def nobody_hears_of_what_is_not_written(history: type[History]) -> None:
    def refuse(*_given: Any) -> int:
        raise OSError(errno.ENOSPC, "no")

    for answer in (refuse, lambda _fd, content, _place: len(content) - 1):
        life = Life(history)
        stored = life.say("a")
        life.say("a", commit=False)
        with calls("pwrite", answer), pytest.raises(OSError, match=r"no|written"):
            life.log.commit()
        assert life.log.mark < life.log.rooms[b"a"]
        life.restart()
        assert life.since("a", 0) == (False, [stored])


def what_is_answered_is_there_for_the_next_broker(history: type[History]) -> None:
    life = Life(history)
    for n in range(60):
        offset = life.say("a", bytes(n), key=b"%016d" % n)
        life.restart()
        assert life.log.rooms == {b"a": offset}
        assert life.log.find_key(b"%016d" % n) == (offset, life.wall)
        assert life.log.find_own(7, life.counter) == (offset, life.wall)


def a_room_that_was_forgotten_has_no_wrong_continuation(history: type[History]) -> None:
    life = Life(history)
    first = life.say("quiet")
    life.fill(2)
    mark = life.log.mark
    assert life.since("quiet", first) == (True, [])
    life.fill(2)
    for _ in range(2):
        assert life.log.last(b"quiet") is None
        assert life.since("quiet", first) == (False, [])
        assert life.since("quiet", life.log.floor - 2) == (False, [])
        assert life.since("quiet", life.log.floor - 1) == (True, [])
        assert life.since("quiet", mark) == (True, [])
        life.restart()
    unknown = life.log.floor - 1
    again = life.say("quiet")
    record = life.log.since(b"quiet", mark, ALL).records[0]
    assert records.parse(record).prev == UNKNOWN | unknown
    assert life.since("quiet", mark) == (True, [again])
    assert life.since("quiet", first) == (False, [again])


def a_room_of_an_earlier_life_is_in_the_footer(history: type[History]) -> None:
    life = Life(history)
    offset = life.say("once")
    life.restart()
    life.say("once more")
    life.fill()
    life.restart()
    assert life.log.rooms[b"once"] == offset
    assert life.since("once", 0) == (False, [offset])


def rooms_without_records_take_no_memory(history: type[History]) -> None:
    life = Life(history)
    for n in range(500):
        life.say(f"room {n}")
    assert len(life.log.rooms) <= 40
    life.restart()
    assert len(life.log.rooms) <= 40


def a_predecessor_that_is_gone_may_still_be_a_position(history: type[History]) -> None:
    life = Life(history)
    first = life.say("a")
    life.fill(2)
    second = life.say("a")
    life.fill(2)
    assert life.log.floor > first
    assert life.since("a", first) == (True, [second])
    assert life.since("a", first - 1) == (False, [second])


def a_rooms_history_is_limited_by_number_bytes_and_age(history: type[History]) -> None:
    life = Life(history, segment=1 << 16)
    offsets = []
    for _ in range(6):
        offsets.append(life.say("a", bytes(100)))
        life.say("b")
        life.now += 100
        # Nobody measures an age by this clock.
        life.wall -= 3_600_000
    size = records.size_of(b"a", b"ann", b"", bytes(100))
    for limits in (
        Limits(3, 1 << 20, 1 << 20),
        Limits(100, 3 * size, 1 << 20),
        Limits(100, 4 * size - 1, 1 << 20),
        Limits(100, 1 << 20, 300),
    ):
        assert life.since("a", offsets[1], limits) == (False, offsets[3:])
        # All that was missed is there, and the position itself need not be.
        assert life.since("a", offsets[2], limits) == (True, offsets[3:])
        assert life.since("a", offsets[4], limits) == (True, offsets[5:])
        assert life.since("a", 0, limits) == (False, offsets[3:])
    assert life.since("a", offsets[2]) == (True, offsets[3:])


def a_long_history_comes_in_pages(history: type[History]) -> None:
    life = Life(history, segment=1 << 20)
    offsets = [life.say("a", bytes(100_000)) for _ in range(7)]
    offsets.append(life.say("a", bytes(PAGE + 1)))
    offsets.append(life.say("a"))
    found, pages, position = [], [], offsets[0]
    more = True
    while more:
        recovered, page, more, _closed = life.log.since(b"a", position, ALL)
        assert recovered
        pages.append(len(page))
        found += [records.offset_of(record) for record in page]
        position = found[-1]
    assert found == offsets[1:]
    assert pages == [2, 2, 2, 1, 1]


def a_closed_room_begins_anew(history: type[History]) -> None:
    life = Life(history)
    first = life.say("a", key=KEY)
    mark = life.log.mark
    closed = life.say("a", kind=CLOSED, payload=b"")
    for _ in range(2):
        assert life.since("a", first) == (False, [])
        assert life.since("a", mark) == (False, [])
        assert life.since("a", closed) == (True, [])
        assert life.log.last(b"a") == (closed, life.wall, True)
        assert [life.log.since(b"a", at, ALL).closed for at in (first, closed)] == [True, False]
        life.restart()
    second = life.say("a")
    for _ in range(2):
        assert life.since("a", first) == (False, [second])
        assert life.since("a", 0) == (False, [second])
        assert life.since("a", closed) == (True, [second])
        # What was published before is not published again.
        assert life.log.find_key(KEY) == (first, life.wall)
        life.restart()
    # A worker that is behind hears that the room was closed.
    kinds = [record[4] for record in everything(life.log)]
    assert kinds == [1, CLOSED, 1]


def an_id_is_known_within_its_turn(history: type[History]) -> None:
    life = Life(history)
    for n in range(14):
        offset = life.say("a", bytes(100), key=b"%016d" % n, commit=False)
        for m in range(n + 1):
            assert life.log.find_key(b"%016d" % m) is not None
        assert life.log.find_own(7, life.counter) == (offset, life.wall)
    assert life.log.find_key(OTHER) is None
    assert life.log.find_own(7, life.counter + 1) is None
    assert life.log.find_own(8, life.counter) is None


def ids_are_kept_for_the_window_by_the_clock_that_nobody_sets(history: type[History]) -> None:
    life = Life(history, segment=1 << 16)
    offset, at = life.say("a", key=KEY), life.wall
    counter = life.counter
    for step in range(10):
        life.wall += (-1) ** step * 86_400_000
        assert life.log.find_key(KEY) == (offset, at)
        assert life.log.find_own(7, counter) == (offset, at)
        life.now += WINDOW // 10
        life.say("b", key=b"%016d" % step)
        if step % 3 == 0:
            life.restart()
    assert life.log.find_key(KEY) == (offset, at)
    life.now += WINDOW // 2
    life.say("b")
    assert life.log.find_key(KEY) is None
    assert life.log.find_key(b"%016d" % 9) is not None
    life.restart()
    assert life.log.find_key(KEY) is None
    assert life.log.find_own(7, counter) is None
    assert life.log.find_key(b"%016d" % 9) is not None


def ids_of_records_that_are_gone_are_not_answered(history: type[History]) -> None:
    life = Life(history)
    life.say("a", key=KEY)
    counter = life.counter
    life.fill(5)
    assert life.log.find_key(KEY) is None
    assert life.log.find_own(7, counter) is None


def more_keys_than_allowed_drop_the_oldest(history: type[History]) -> None:
    life = Life(history, segment=1 << 16, most_keys=100)
    for n in range(1000):
        life.say("a", key=b"%016d" % n)
        assert len(life.log.ids) <= 100
    assert life.log.ids.dropped == 1000 - len(life.log.ids)
    for _ in range(2):
        for n in range(930, 1000):
            assert life.log.find_key(b"%016d" % n)
        assert not life.log.find_key(b"%016d" % 899)
        life.restart()


def a_workers_open_publishes_are_known(history: type[History]) -> None:
    life = Life(history, segment=1 << 18)
    offsets = {}
    for n in range(3000):
        # Those with a key have their counter as well.
        offset = life.say("a", key=b"%016d" % n if n % 3 else b"")
        offsets[life.counter] = offset
    for _ in range(2):
        for counter in range(3000 - 1023, 3001):
            assert life.log.find_own(7, counter) == (offsets[counter], life.wall)
        assert life.log.find_own(7, 3000 - 1024) is None
        life.restart()


def workers_that_are_gone_are_forgotten(history: type[History]) -> None:
    life = Life(history, segment=1 << 18)
    for incarnation in range(1, 50):
        life.log.append(1, 0, b"a", b"", b"", b"", 1, incarnation, 1)
        life.log.commit()
        life.now += WINDOW // 4 + 1
    assert life.log.ids.workers <= 6
    assert life.log.find_own(49, 1)


def records_near_the_segments_size(history: type[History]) -> None:
    life = Life(history)
    most = life.log.largest - records.size_of(b"", b"ann", b"", b"")
    name = "n" * 255
    with pytest.raises(ValueError, match="fit into a segment"):
        life.say("a", bytes(most + 255))
    for size in range(most - 255 - 40, most - 254):
        for _ in range(5):
            offset = life.say(name, bytes(size))
            assert life.since(name, offset - 1) == (True, [offset])
        life.restart()
        assert life.log.rooms[name.encode()] == offset
        assert not life.log.damage
    # Each way to leave a few bytes at the end of a segment.
    for size in range(600, 800):
        life.say("a", bytes(min(size, most - 1)))
        kept = life.say("b", b"")
        end = life.log.end
        life.restart()
        assert (life.log.end, life.log.damage) == (end, "")
        assert life.since("b", kept - 1) == (True, [kept])


def who_is_behind_gets_all_in_order(history: type[History]) -> None:
    life = Life(history)
    told = []
    offset = life.log.end
    for n in range(30):
        life.say(f"r{n % 3}", bytes(n), commit=False)
        told += life.log.commit()
    wanted = {b"r0", b"r2", b"never"}
    for most in (1, 200, 1 << 20):
        found: list[bytes] = []
        place = offset
        while place != life.log.end:
            some, place = life.log.follow(place, wanted, most)
            assert sum(map(len, some)) < most + 200
            found += some
        assert found == [record for record in told if records.parse(record).room in wanted]
    for record in told:
        assert everything(life.log)[0] == told[0]
        some, _place = life.log.follow(records.offset_of(record), {records.parse(record).room})
        assert some[0] == record
    life.fill(5)
    with pytest.raises(ValueError, match="nothing is kept"):
        life.log.follow(offset, wanted)


def who_is_behind_is_served_in_pieces(history: type[History]) -> None:
    life = Life(history, segment=1 << 20)
    for _ in range(30):
        life.say("other", bytes(60_000))
    life.say("a", bytes(PAGE * 2))
    life.say("a")
    offset, found, steps = life.log.floor, [], 0
    with calls("pread") as noted:
        while offset < life.log.end:
            some, offset = life.log.follow(offset, {b"a"})
            found += some
            steps += 1
    assert [len(records.parse(record).payload) for record in found] == [PAGE * 2, 5]
    assert steps > 8
    assert max(given[1] for given in noted if given[1] <= PAGE) == PAGE


def old_segments_are_known_by_their_footers(history: type[History]) -> None:
    life = Life(history, segment=1 << 16, slots=8)
    life.fill(5, "a")
    offset = life.say("b")
    expected = everything(life.log)

    def segments_read() -> int:
        with calls("pread") as noted:
            life.restart()
        return sum(given[1] == 1 << 16 for given in noted)

    assert segments_read() == 6
    life.now += WINDOW + 1
    assert segments_read() == 1
    assert everything(life.log) == expected
    assert life.log.rooms[b"b"] == offset


def damage_begins_a_new_epoch_loudly(history: type[History]) -> None:
    def places(life: Life) -> dict[str, int]:
        size, end = life.log.segment_size, life.log.end
        newest = end // size % 4 * size
        full = (end // size - 1) % 4 * size
        return {
            "header": full + 20,
            "oldest header": (end // size - 3) % 4 * size + 20,
            "newest header": newest + 20,
            "record": full + 64 + 60,
            "newest record": newest + 64 + 60,
        }

    for name in places(Life(history)):
        life = Life(history)
        life.fill(6)
        for _ in range(3):
            life.say("a")
        end, epoch = life.log.end, life.log.epoch
        place = places(life)[name]
        if name == "oldest header":
            # Where a death may tear one, a torn header is no damage.
            life.fill(1)
            end = life.log.end
        flipped(life.file, place)
        life.restart()
        assert life.log.damage, name
        assert life.log.epoch != epoch
        assert life.log.floor > end
        assert life.since("a", 0) == (False, [])
        offset, epoch = life.say("a"), life.log.epoch
        life.restart()
        assert (life.log.damage, life.log.epoch) == ("", epoch)
        assert life.since("a", 0) == (False, [offset])
        life.fill(9)
        assert (life.restart().damage, life.log.epoch) == ("", epoch)


def a_footer_that_is_wrong_is_damage(history: type[History]) -> None:
    for age in (0, WINDOW + 1):
        life = Life(history)
        life.fill(2)
        footer = os.pread(life.file, 1024, 1024).rindex(b"other")
        flipped(life.file, 1024 + footer)
        life.now += age
        assert life.restart().damage


def damage_that_a_reader_finds_is_known_to_the_next_broker(history: type[History]) -> None:
    readers: tuple[Callable[[History], object], ...] = (
        lambda log: log.since(b"a", 0, ALL),
        lambda log: log.follow(log.floor, {b"a"}),
    )
    for read in readers:
        for byte in (8, 60):
            life = Life(history)
            offset = life.say("a")
            life.fill(2)
            life.now += WINDOW + 1
            flipped(life.file, offset % 4096 + byte)
            assert not life.restart().damage
            with pytest.raises(Exception, match=r"record at \d+") as caught:
                read(life.log)
            assert type(caught.value).__name__ == "Damaged"
            epoch = life.log.epoch
            assert "reader" in life.restart().damage
            assert life.log.epoch != epoch
            assert not life.restart().damage


def a_file_with_other_segments_begins_anew(history: type[History]) -> None:
    life = Life(history, segment=512, slots=16)
    life.fill(30)
    end = life.log.end
    other = history(life.file, segment=2048, clock=lambda: life.now)
    assert other.damage
    assert other.floor > end
    assert not history(life.file, segment=2048, clock=lambda: life.now).damage


def a_log_goes_on_over_a_torn_footer(history: type[History]) -> None:
    """What does not fit any more may be followed by what does."""
    life = Life(history)
    room = life.log.segment_size - life.log.end % 1024
    life.say("a", bytes(room - 200))
    life.say("a", commit=False)
    taken: list[tuple[int, bytes, bytes]] = []
    with recorded(taken):
        life.say("a", bytes(300), commit=False)
    place, content, image = taken[0]
    os.pwrite(life.file, image[:place] + content + image[place + len(content) :], 0)
    life.restart()
    offset = life.say("a", b"small")
    end = life.log.end
    life.restart()
    assert (life.log.end, life.log.damage) == (end, "")
    assert life.log.rooms[b"a"] == offset


CHECKS: list[Check] = [
    value
    for value in list(globals().values())
    if callable(value) and getattr(value, "__module__", "") == __name__
]
