"""The oracle of the cluster: what went well pleases it, and each planted fault is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.chaos.sightings import Ack, Notes, Publish, Visit
from tests.cluster import oracle
from tests.cluster.crowd import SILENCE
from tests.cluster.oracle import Loss
from tests.cluster.proxy import CHECK_TIME

DRAINED, LOST, NEXT = 101, 201, 301
LOSS = Loss(LOST, 20.0)
IN_TIME = LOSS.at + SILENCE + CHECK_TIME + 1.0


def visit(number: int, member: int, worker: int, began: float, ended: float) -> Visit:
    found = Visit(number, began, member=member, room="a", worker=worker, silence=SILENCE)
    found.opened, found.joined, found.ended = began + 0.1, began + 0.2, ended
    return found


def drained() -> list[Visit]:
    """One that a drained host sends away, and that comes back to another one."""
    first = replace(visit(1, 1, DRAINED, 1.0, 10.1), code=1001, closed=10.0)
    return [first, replace(visit(2, 1, NEXT, 10.3, 30.0), asked=True, code=1000, recovered=True)]


def lost() -> list[Visit]:
    """One whose host is cut off, and one whose attempt to connect was on its way there."""
    first = replace(visit(1, 1, LOST, 1.0, 25.0), trouble="quiet", code=1006)
    second = replace(visit(2, 2, 0, 20.5, 25.5), opened=0.0, joined=0.0, trouble="quiet")
    back = [visit(3, 1, NEXT, 25.1, 30.0), visit(4, 2, NEXT, 25.6, 30.0)]
    return [first, second, *(replace(each, asked=True, code=1000) for each in back)]


def test_what_went_well_pleases() -> None:
    notes = Notes(drained())
    assert oracle.none_refused(notes) == oracle.none_ended(notes, [DRAINED]) == []
    assert oracle.back_at_once(notes, DRAINED) == oracle.served(notes, NEXT, 10.4) == []
    notes = Notes(lost())
    assert oracle.none_refused(notes, LOSS) == oracle.none_ended(notes, loss=LOSS) == []
    assert oracle.back_in_time(notes, LOSS) == []


def test_each_fault_around_a_drained_host_is_seen() -> None:
    first, second = drained()
    refused = replace(visit(3, 1, 0, 10.2, 10.3), opened=0.0, joined=0.0, trouble="status 503")
    assert "failed" in oracle.none_refused(Notes([first, refused, second]))[0]
    assert "ended as none should" in oracle.none_ended(Notes([first, second]), [NEXT])[0]
    assert "never" in oracle.back_at_once(Notes([first]), DRAINED)[0]
    late = replace(second, began=11.0, opened=11.1, joined=11.2)
    assert "too late" in oracle.back_at_once(Notes([first, late]), DRAINED)[0]
    assert "has let nobody in" in oracle.served(Notes([first, second]), NEXT, 10.6)[0]


@pytest.mark.parametrize("fault", ["late", "never", "another host", "before"])
def test_each_fault_around_a_lost_host_is_seen(fault: str) -> None:
    first, second, third, fourth = lost()
    if fault == "late":
        third = replace(third, joined=IN_TIME + 0.1)
        assert "too late" in oracle.back_in_time(Notes([first, third]), LOSS)[0]
    elif fault == "never":
        assert "never" in oracle.back_in_time(Notes([first]), LOSS)[0]
    elif fault == "another host":
        assert oracle.none_ended(Notes([replace(first, worker=NEXT), third]), loss=LOSS)
    else:
        assert oracle.none_refused(Notes([replace(second, began=18.0, ended=23.0), fourth]), LOSS)


def test_nobody_to_judge_is_a_fault() -> None:
    assert "no clients to send away" in oracle.back_at_once(Notes(), DRAINED)[0]
    assert "no clients to lose" in oracle.back_in_time(Notes(), LOSS)[0]


def test_who_has_lost_its_connection_by_itself_may_take_its_time() -> None:
    first, second = drained()
    own = replace(visit(3, 1, 0, 10.2, 10.3), opened=0.0, joined=0.0, asked=True)
    late = replace(second, joined=12.0)
    assert oracle.back_at_once(Notes([first, own, late]), DRAINED) == []
    assert oracle.none_refused(Notes([first, own, late])) == []


def test_a_position_that_is_not_recovered_is_a_fault() -> None:
    first, second = drained()
    back = replace(second, since="e:5:0", recovered=False)
    assert "have not recovered" in " ".join(oracle.all_and_once(Notes([first, back])))


def test_a_message_that_nobody_has_seen_is_a_fault() -> None:
    publish = Publish(1_000_001, "a", 1.0, sends=1, acks=[Ack(2, 7, 1.1)])
    (visit,) = [replace(each, epoch="e", stayed=True) for each in drained()[1:]]
    found = " ".join(oracle.all_and_once(Notes([visit], [publish])))
    assert "seen by nobody" in found
    visit = replace(visit, offsets=[7], messages=[1_000_001])
    assert oracle.all_and_once(Notes([visit], [publish])) == []
