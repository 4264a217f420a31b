"""The config service's layer: awaited first, tried alone, kept until the next one is in force."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.errors import ExitCode
from mpchat.linux.memfd import read_memfd, sealed_memfd
from mpchat.scoreboard.scoreboard import Scoreboard
from mpchat.supervisor.announcing import Announcer
from mpchat.supervisor.config_service import ConfigService
from mpchat.supervisor.log import Log
from mpchat.supervisor.timing import Timing

TIMING = Timing()


class Rig:
    """A config service's layer without processes."""

    def __init__(self, *, has_values: bool = True, follows: bool = True) -> None:
        unused: Any = None
        self.board = Scoreboard.create()
        followed = {"first_limit": 20.0, "has_values": has_values} if follows else None
        self.plan = SimpleNamespace(config_service=followed)
        editions: Any = SimpleNamespace(current=SimpleNamespace(plan=self.plan), generation=1)
        self.announcer = Announcer(Log(), unused, self.board, editions, unused)
        self.layer = ConfigService(TIMING, Log(), editions, self.announcer)
        self.answers: list[tuple[str, str]] = []

    def offer(self, content: str) -> str:
        memfd = sealed_memfd("test", content.encode())
        try:
            return self.layer.offer(memfd, lambda reason: self.answers.append((content, reason)))
        finally:
            os.close(memfd)

    def loaded(self) -> list[str]:
        """Return what the template would be given."""
        return [read_memfd(memfd).decode() for memfd in self.layer.to_load()]

    def applied(self, content: str) -> None:
        assert self.offer(content) == ""
        self.layer.begin_trial()
        self.layer.installed()
        self.layer.end_trial("")

    def failure(self) -> str:
        failure = self.announcer.failures.get("update")
        return failure.text if failure is not None else ""


@pytest.fixture
def rig() -> Any:
    rig = Rig()
    rig.layer.begin(0.0)
    yield rig
    rig.layer.close()
    rig.board.close()


def test_a_service_that_follows_none_waits_for_nothing() -> None:
    rig = Rig(follows=False)
    rig.layer.begin(0.0)
    assert not rig.layer.awaited
    assert rig.layer.due() is None
    assert rig.offer("a") == "this service follows no config service"
    rig.board.close()


def test_the_workers_wait_until_the_first_answer_is_in_force(rig: Rig) -> None:
    assert rig.layer.awaited
    assert rig.offer("a") == ""
    assert rig.loaded() == []
    rig.layer.begin_trial()
    assert rig.loaded() == ["a"]
    rig.layer.installed()
    assert rig.layer.awaited
    rig.layer.end_trial("")
    assert not rig.layer.awaited
    assert rig.answers == [("a", "")]
    assert rig.loaded() == ["a"]


def test_the_service_starts_with_what_is_there_if_the_first_answer_does_not_come(rig: Rig) -> None:
    rig.layer.failed("connection refused")
    assert not rig.layer.awaited
    assert rig.layer.exit_code is None
    assert rig.failure() == "connection refused"


def test_without_any_values_it_does_not_start(capfd: pytest.CaptureFixture[str]) -> None:
    rig = Rig(has_values=False)
    rig.layer.begin(0.0)
    rig.layer.failed("connection refused")
    assert rig.layer.awaited
    assert rig.layer.exit_code == ExitCode.UNAVAILABLE
    assert (
        "mpchat: connection refused\nmpchat: there is no dynamic config" in capfd.readouterr().err
    )
    rig.board.close()


def test_a_console_that_says_nothing_is_not_waited_for_forever(rig: Rig) -> None:
    due = rig.layer.due()
    assert due is not None
    rig.layer.tick(due - 0.1)
    assert rig.layer.awaited
    rig.layer.tick(due)
    assert not rig.layer.awaited
    assert "has not said in time" in rig.failure()


def test_consoles_that_end_are_not_waited_for_forever(rig: Rig) -> None:
    for _ in range(TIMING.start_failures - 1):
        rig.layer.console_ended("exit status 1")
        assert rig.layer.awaited
    rig.layer.console_ended("exit status 1")
    assert not rig.layer.awaited
    assert rig.failure().endswith("times: exit status 1")


def test_what_is_refused_changes_nothing(rig: Rig) -> None:
    rig.applied("a")
    assert rig.offer("b") == ""
    rig.layer.begin_trial()
    assert rig.loaded() == ["b"]
    rig.layer.end_trial("X: expected a number")
    assert rig.loaded() == ["a"]
    assert rig.answers == [("a", ""), ("b", "X: expected a number")]
    assert rig.failure() == "what the config service says was not applied: X: expected a number"
    rig.layer.confirmed()
    assert rig.failure() == ""


def test_what_some_workers_have_not_confirmed_is_in_force(rig: Rig) -> None:
    assert rig.offer("a") == ""
    rig.layer.begin_trial()
    rig.layer.installed()
    rig.layer.end_trial("worker 1 has not confirmed generation 2")
    assert rig.answers == [("a", "")]
    assert rig.loaded() == ["a"]


def test_a_newer_answer_takes_the_place_of_one_that_waits(rig: Rig) -> None:
    assert rig.offer("a") == ""
    assert rig.offer("b") == ""
    assert [content for content, _reason in rig.answers] == ["a"]
    assert "newer answer" in rig.answers[0][1]
    rig.layer.begin_trial()
    assert rig.loaded() == ["b"]


def test_what_is_in_force_already_is_not_tried_again(rig: Rig) -> None:
    rig.applied("a")
    assert rig.offer("a") == ""
    assert rig.answers == [("a", ""), ("a", "")]
    assert not rig.layer.has_offer
    assert rig.offer("b") == ""
    assert rig.offer("a") == ""
    assert rig.layer.has_offer


def test_another_reload_neither_ends_nor_installs_a_layer_that_waits(rig: Rig) -> None:
    assert rig.offer("a") == ""
    rig.layer.installed()
    rig.layer.end_trial("")
    assert rig.layer.has_offer
    assert rig.loaded() == []
    assert rig.answers == []


def test_only_a_sealed_file_of_a_bounded_size_is_taken(rig: Rig) -> None:
    read, write = os.pipe()
    assert "not a memfd" in rig.layer.offer(read, lambda _reason: None)
    os.close(read)
    os.close(write)
    memfd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    assert "not sealed" in rig.layer.offer(memfd, lambda _reason: None)
    os.close(memfd)
    assert "33554432 are allowed" in rig.offer(" " * (32 * 1024 * 1024 + 1))
    assert not rig.layer.has_offer


def test_an_edition_that_follows_no_config_service_is_given_none(rig: Rig) -> None:
    rig.applied("a")
    rig.plan.config_service = None
    assert rig.loaded() == []
