"""Tortures of rooms: broker, workers and template die while members talk, restart and scale between."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mpchat.ipc.control import ControlError, ask
from mpchat.testsuite.service import wait_until
from tests.chaos import judge, rooms_judge
from tests.chaos.box import Box, end, kill
from tests.chaos.judge import Kill
from tests.chaos.rooms_judge import Kept
from tests.chaos.sightings import Notes
from tests.chaos.torture import Outcome, Scale, Torture

_WORKERS = 4
_IN_A_ROOM = 10
_QUESTIONS = 30
_STORM = 20
"""Signals of a storm of reloads."""
_PAUSE = 0.8
"""Most seconds between two faults: a broker may be killed that is still recovering."""
_MIB = 1024 * 1024
_DRAIN = {"MPCHAT_DRAIN": {"window_ms": 500, "deadline_ms": 5000}}


@dataclass
class _Faults:
    """What is done to a service, and what came of it."""

    box: Box
    workers: int = _WORKERS
    killed: dict[int, Kill] = field(default_factory=dict)
    brokers: list[float] = field(default_factory=list)
    """When each was killed"""
    frozen: int = 0
    templates: int = 0
    restarts: int = 0
    reloads: int = 0
    _restarting: list[threading.Thread] = field(default_factory=list)

    def kill_broker(self) -> None:
        if self._kill("broker"):
            self.brokers.append(time.monotonic())

    def kill_worker(self) -> None:
        victims = sorted(self.box.workers())
        if victims:
            victim = random.choice(victims)
            killed = end(victim)
            # It may have been dead already, and not known to be.
            self.killed.setdefault(victim, killed)

    def freeze(self) -> None:
        """A worker stands still: what it does not take waits at the broker, or is no longer kept."""
        victims = sorted(self.box.workers())
        if victims:
            victim = random.choice(victims)
            kill(victim, signal.SIGSTOP)
            time.sleep(random.uniform(0.2, 2 * _PAUSE))
            kill(victim, signal.SIGCONT)
            self.frozen += 1

    def kill_template(self) -> None:
        self.templates += self._kill("template")

    def kill_both(self) -> None:
        """A worker and the broker at once: who repeats what finds neither."""
        self.kill_worker()
        self.kill_broker()

    def restart(self) -> None:
        """Begin a restart; it may fail of what comes next."""
        self.restarts += 1
        restart = threading.Thread(target=self._restart)
        restart.start()
        self._restarting.append(restart)

    def _restart(self) -> None:
        # The monitor that was asked may be gone before it can answer.
        with contextlib.suppress(ControlError):
            ask(str(self.box.control), {"verb": "restart", "slot": None})

    def storm(self) -> None:
        self.reloads += _STORM
        for _ in range(_STORM):
            self.box.service.send_signal(signal.SIGHUP)

    def scale(self) -> None:
        wanted = random.choice([_WORKERS - 1, _WORKERS + 1])
        for number in (wanted, _WORKERS):
            for _ in range(abs(number - self.workers)):
                more = number > self.workers
                self.box.service.send_signal(signal.SIGTTIN if more else signal.SIGTTOU)
                self.workers += 1 if more else -1
                self.box.wait_wanted(self.workers)
            time.sleep(random.uniform(0.0, _PAUSE))

    def all_of(self, turns: int) -> None:
        """Do everything so many times, in any order and at any moment of one another."""
        for _ in range(turns):
            faults = [
                *[self.kill_broker] * 4,
                *[self.kill_worker] * 2,
                self.kill_both,
                self.kill_template,
                self.restart,
                self.storm,
                self.scale,
            ]
            random.shuffle(faults)
            for fault in faults:
                fault()
                time.sleep(random.uniform(0.0, _PAUSE))
            self.settle()

    def settle(self) -> None:
        """Wait until nothing of it goes on."""
        for restart in self._restarting:
            restart.join()
        self._restarting.clear()
        self.box.wait_settled(_WORKERS, *self.killed)
        wait_until(lambda: self.box.service.pids("broker"), "broker")

    @property
    def outages(self) -> list[tuple[float, float]]:
        """When there was no broker, some of which the watch may have been too slow for."""
        found: list[tuple[float, float]] = []
        for since, upto in sorted([*self.box.outages, *((died, died) for died in self.brokers)]):
            if found and since <= found[-1][1]:
                found[-1] = found[-1][0], max(upto, found[-1][1])
            else:
                found.append((since, upto))
        return found

    @property
    def numbers(self) -> dict[str, str]:
        return {
            "brokers killed": str(len(self.brokers)),
            "workers killed": str(len(self.killed)),
            "workers frozen": str(self.frozen),
            "templates killed": str(self.templates),
            "restarts": str(self.restarts),
            "reloads": str(self.reloads),
        }

    def _kill(self, title: str) -> bool:
        victims = self.box.service.pids(title)
        for victim in victims:
            kill(victim, signal.SIGKILL)
        return bool(victims)


@dataclass(frozen=True)
class _History:
    """What a service remembers of its rooms.

    Attributes:
        options: Of the component ``rooms``.
        kept: What these keep for certain.
        plan: What its members do beside talking.
        codes: Closes that they may see.
        missing: How many messages of that many rooms they may miss, each time that they are away.
    """

    options: Mapping[str, Any]
    kept: Kept
    plan: Mapping[str, Any]
    codes: tuple[int, ...] = (1001, 1012, 1013)
    missing: Callable[[int], int] = lambda _rooms: 0


_AMPLE = _History(
    {"history-size": 1_000_000, "history-bytes": 64 * _MIB},
    Kept(messages=1_000_000, size=62 * _MIB),
    {"cut": 20.0, "away": 0.3, "doubt": 0.05},
    codes=(1001, 1012),
)
_LAPS = _History(
    # Segments of 256 KiB, which are full in a few seconds.
    {"history-memory": 16 * _MIB, "history-size": 1_000_000, "history-bytes": 16 * _MIB},
    Kept(messages=1_000_000, size=15 * _MIB),
    {"cut": 10.0, "away": 0.3, "doubt": 0.05, "padding": 2000},
    codes=(1001, 1012),
)
_FORGETFUL = {
    "ten messages of a room": _History(
        {"history-size": 10},
        Kept(10, 62 * _MIB),
        {"cut": 2.0, "doubt": 0.05},
        missing=lambda rooms: 20 * rooms,
    ),
    "1 MiB for all rooms": _History(
        {"history-memory": _MIB, "history-bytes": _MIB, "worker-backlog": 65536},
        # Four segments, of which one begins anew.
        Kept(1000, _MIB * 3 // 4),
        {"cut": 2.0, "doubt": 0.05, "padding": 20_000},
        missing=lambda _rooms: 200,
    ),
    "none": _History(
        {"history-memory": 0},
        Kept(0, 0),
        {"cut": 2.0, "doubt": 0.05},
    ),
}


def rooms(folder: Path, scale: Scale, without: str) -> Outcome:
    """Everything at once, with a history that reaches back to whatever anybody asks for."""
    history = _AMPLE
    with _box(folder, without, history) as box:
        faults = _Faults(box)
        with box.watched(), box.members(_plan(scale, history)) as notes:
            box.wait_connected(scale.members * 9 // 10)
            faults.all_of(max(1, scale.times // 3))
            # The broker that now lives is told of a worker's death by nobody but that itself.
            faults.kill_worker()
            faults.settle()
            time.sleep(scale.patience + rooms_judge.AT_ONCE)
    return Outcome(
        faults.numbers | _numbers(notes),
        _failures(notes, history, faults)
        + rooms_judge.all_acknowledged(notes)
        + rooms_judge.all_in_time(notes, faults.outages)
        + rooms_judge.presence_is_right(notes, faults.killed, faults.outages, scale.patience)
        + judge.never_falls(box.samples),
    )


def deaths(folder: Path, scale: Scale, without: str) -> Outcome:
    """Each broker dies where it hurts most, again and again."""
    history = _LAPS
    with _box(folder, f"deaths,{without}".rstrip(","), history) as box:
        faults = _Faults(box)
        with box.members(_plan(scale, history)) as notes:
            box.wait_connected(scale.members * 9 // 10)
            died = box.board.broker("restarts") + scale.times
            wait_until(
                lambda: box.board.broker("restarts") >= died, f"{died} deaths", 10 * scale.times
            )
            (folder / "mercy").touch()
    return Outcome(
        {"brokers died": str(died)} | _numbers(notes),
        _failures(notes, history, faults) + rooms_judge.all_acknowledged(notes),
    )


def forgetful(folder: Path, scale: Scale, without: str) -> Outcome:
    """Members are away for so long that some of them find the history over."""
    outcome = Outcome()
    for name, history in _FORGETFUL.items():
        place = folder / name.split()[0]
        place.mkdir()
        with _box(place, without, history) as box:
            faults = _Faults(box)
            with box.members(_plan(scale, history)) as notes:
                box.wait_connected(scale.members // 2)
                for _ in range(max(2, scale.times // 3)):
                    for fault in random.sample(
                        [faults.kill_broker, faults.kill_worker, faults.freeze], 2
                    ):
                        fault()
                        time.sleep(random.uniform(0.0, _PAUSE))
                faults.settle()
                box.wait_said(int(scale.said * max(2, scale.times // 3)))
        outcome.failures += [f"{name}: {each}" for each in _failures(notes, history, faults)]
        if not any(visit.joined and not visit.recovered for visit in notes.visits):
            outcome.failures.append(f"{name}: nobody was away for long enough")
        numbers = faults.numbers | _numbers(notes)
        outcome.numbers[name] = ", ".join(
            f"{what} {number}" for what, number in numbers.items() if number != "0"
        )
    return outcome


def _box(folder: Path, without: str, history: _History) -> Box:
    components = {"rooms": history.options, "room-handler": {"path": "/rooms/{room}"}}
    return Box(
        folder,
        workers=_WORKERS,
        without=without,
        dynamic=_DRAIN,
        app="rooms_app",
        components=components,
    )


def _plan(scale: Scale, history: _History) -> dict[str, Any]:
    count = scale.members // _IN_A_ROOM
    return {
        "members": scale.members,
        "rooms": count,
        "opening": scale.opening,
        "rate": scale.said,
        "missing": history.missing(count),
        # So many questions a second, of all together.
        "ask": scale.members / _QUESTIONS,
        **history.plan,
    }


def _failures(notes: Notes, history: _History, faults: _Faults) -> list[str]:
    kept = history.kept
    if not kept.size:
        # An acknowledgement promises nothing, and may be that of the next epoch.
        notes = notes.without_acks()
    return (
        judge.only_killed_ended(notes.visits, faults.killed)
        + rooms_judge.one_order(notes)
        + rooms_judge.none_missed(notes)
        + rooms_judge.none_doubled(notes, kept)
        + rooms_judge.told_truly(notes, kept)
        + rooms_judge.in_publishers_order(notes, kept)
        + rooms_judge.first_answer_stands(notes, kept)
        + rooms_judge.all_back(notes)
        + rooms_judge.none_sent_away(notes, history.codes, faults.outages)
        + faults.box.tracebacks()
    )


def _numbers(notes: Notes) -> dict[str, str]:
    back = [visit for visit in notes.visits if visit.joined and visit.since]
    return {
        "members": str(len({visit.member for visit in notes.visits})),
        "connections": str(len(notes.visits)),
        "messages": str(len(notes.publishes)),
        "seen": str(sum(len(visit.offsets) for visit in notes.visits)),
        "repeated": str(sum(each.sends > 1 for each in notes.publishes)),
        "came back and recovered": f"{sum(each.recovered for each in back)} of {len(back)}",
        "longest wait for an acknowledgement": judge.milliseconds(
            rooms_judge.longest_silence(notes.publishes)
        ),
    }


TORTURES = (
    Torture(
        "rooms",
        "rooms whose members talk, lose their connections and come back: SIGKILL of the broker, of "
        "workers, of both, of the template; restarts, TTIN and TTOU, storms of HUP, at any moment of "
        "one another",
        "in each room one order for all; what was acknowledged, or seen by anybody, is seen by every "
        "member once; whoever comes back recovers; a repeated id gets its first offset; each "
        "publisher's order; nothing refused while there is a broker; members of a killed worker are "
        "not listed a second later; totals never fall",
        rooms,
        {
            "repeats": "workers do not repeat to a new broker what the last one has not answered",
            "ids": "a new broker knows no ids",
            "resuming": "a room goes on at its end when the broker is another one",
            "presence": "members of a worker that was killed stay listed",
            "stored_first": "publishes are answered before they are stored",
            "position": "clients forget their position",
            "same_id": "clients repeat with new ids",
        },
        short=("position",),
    ),
    Torture(
        "rooms-deaths",
        "brokers that die while they write, before they answer, between two answers, after the answers",
        "the same, but for who is listed",
        deaths,
        {
            "repeats": "workers do not repeat to a new broker what the last one has not answered",
            "ids": "a new broker knows no ids",
            "resuming": "a room goes on at its end when the broker is another one",
        },
        short=("resuming",),
    ),
    Torture(
        "rooms-forgetful",
        "histories of "
        + ", ".join(_FORGETFUL)
        + "; members that are away for long, workers that stand "
        "still (SIGSTOP); SIGKILL of the broker and of workers",
        "one order, nothing missed without a word, nothing twice; `recovered: false` is said exactly "
        "when the history does not reach back",
        forgetful,
        {
            "gaps": "whoever comes back is told that nothing is missing",
            "recovery": "whoever comes back is told that something is missing",
        },
    ),
)
