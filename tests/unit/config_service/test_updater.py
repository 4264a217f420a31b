"""The updater between a config service and a sink, both of which do what a test says."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mpchat.config_service.errors import UpdateFailed
from mpchat.config_service.numbers import Numbers
from mpchat.config_service.options import ConfigServicePlan
from mpchat.config_service.updater import Updater
from mpchat.scoreboard.scoreboard import Scoreboard
from tests.unit.config_service.test_options import client, updater

DEFAULTS = {"A": 0, "B": 0}


class Enough(Exception):
    """The updates that a test asked for are over."""


def middle(least: float, most: float) -> float:
    return (least + most) / 2


class Rig:
    """An updater, its config service, its sink and its clock."""

    def __init__(self, board: Scoreboard) -> None:
        self.board = board
        self.now = 1000.0
        self.asked: list[dict[str, Any]] = []
        self.told: list[Any] = []
        self.waits: list[float] = []
        self.refusal = ""
        self.answers: list[bytes | UpdateFailed] = []
        self.in_force_now: Mapping[str, Any] = DEFAULTS

    async def run(self, *answers: Any, cache: Path | None = None, **options: Any) -> None:
        """Have one update for each answer: fields of an answer, bytes, or a failure."""
        self.begin(cache=cache, **options)
        await self.go_on(*answers)

    def begin(self, *, cache: Path | None = None, **options: Any) -> None:
        plan = ConfigServicePlan(
            client(),
            updater(full_update_interval="1m", **options),
            tuple(DEFAULTS),
            cache_path=str(cache) if cache is not None else None,
        )
        numbers = Numbers(self.board)
        self.updater = Updater(plan, self.fetch, self, numbers, self.clock, self.sleep, middle)

    def clock(self) -> float:
        return self.now

    async def go_on(self, *answers: Any) -> None:
        self.answers = [
            json.dumps(one).encode() if isinstance(one, dict) else one for one in answers
        ]
        with pytest.raises(Enough):
            await self.updater.run()

    async def fetch(self, body: bytes) -> bytes:
        self.asked.append(json.loads(body))
        answer = self.answers.pop(0)
        self.now += 0.5
        if isinstance(answer, UpdateFailed):
            raise answer
        return answer

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        if not self.answers:
            raise Enough

    async def apply(self, values: Mapping[str, Any]) -> str:
        self.told.append(dict(values))
        if not self.refusal:
            self.in_force_now = {**DEFAULTS, **values}
        return self.refusal

    async def failed(self, text: str) -> None:
        self.told.append(text)

    async def confirmed(self) -> None:
        self.told.append("confirmed")

    async def in_force(self) -> Mapping[str, Any]:
        return self.in_force_now

    def counted(self, kind: str) -> dict[str, int]:
        names = ("attempts", "no_changes", "failures", "read", "refused")
        return {name: n for name in names if (n := self.board.service(f"{kind}_{name}"))}


@pytest.fixture
def rig() -> Iterator[Rig]:
    board = Scoreboard.create()
    yield Rig(board)
    board.close()


def answer(updated_at: str, **configs: Any) -> dict[str, Any]:
    return {"configs": configs, "updated_at": updated_at}


async def test_the_first_update_is_full_and_those_that_follow_are_incremental(rig: Rig) -> None:
    await rig.run(answer("1", A=1), {**answer("2", B=2), "removed": ["A"]}, answer("3"))
    assert [asked.get("updated_since") for asked in rig.asked] == [None, "1", "2"]
    assert rig.told == [{"A": 1}, {"B": 2}, "confirmed"]
    assert rig.waits == [5, 5, 5]
    assert rig.counted("full") == {"attempts": 1, "read": 1}
    assert rig.counted("incremental") == {"attempts": 2, "no_changes": 1, "read": 1}
    assert rig.board.service("documents") == 1
    assert rig.board.service("incremental_took_ms") == 500


async def test_a_full_update_comes_in_its_interval(rig: Rig) -> None:
    await rig.run(*(answer(str(number), A=number) for number in range(12)))
    assert [asked.get("updated_since") for asked in rig.asked][9:] == ["8", "9", None]


async def test_a_first_update_that_fails_stays_full(rig: Rig) -> None:
    await rig.run(UpdateFailed("down"), b"{", answer("1", A=1), exception_interval="1s")
    assert all("updated_since" not in asked for asked in rig.asked)
    assert rig.told == [
        "down",
        "the answer is not JSON: Expecting property name enclosed in double quotes at line 1, column 2",
        {"A": 1},
    ]
    assert rig.waits == [1, 1, 5]
    assert rig.counted("full") == {"attempts": 3, "failures": 2, "read": 1}


async def test_a_refused_answer_changes_nothing_that_is_held(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "cache.json"
    await rig.run(answer("1", A=1), cache=cache)
    written = cache.read_text()
    rig.refusal = "A: expected an integer"
    await rig.go_on(answer("2", A="x"))
    assert cache.read_text() == written
    rig.refusal = ""
    await rig.go_on(answer("3", B=3))
    assert [asked.get("updated_since") for asked in rig.asked] == [None, "1", "1"]
    # The supervisor, which has refused it, needs not be told.
    assert rig.told == [{"A": 1}, {"A": "x"}, {"A": 1, "B": 3}]
    refused = {"attempts": 2, "failures": 1, "read": 2, "refused": 1}
    assert rig.counted("incremental") == refused
    (warning,) = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert warning.endswith("its values were refused: A: expected an integer")


@pytest.mark.covers("UpdaterOptions.deduplicate-update-types")
@pytest.mark.parametrize(
    ("types", "told"),
    [("full-and-incremental", [{"A": 1}, "confirmed"]), ("none", [{"A": 1}, {"A": 1}])],
)
async def test_the_same_content_is_not_applied_again(
    rig: Rig, types: str, told: list[Any], tmp_path: Path
) -> None:
    cache = tmp_path / "cache.json"
    rig.begin(cache=cache, deduplicate_update_types=types)
    await rig.go_on(answer("1", A=1))
    cache.unlink()
    await rig.go_on(answer("2", A=1))
    assert rig.told == told
    assert cache.exists() is (types == "none")


@pytest.mark.covers("UpdaterOptions.store-enabled")
async def test_what_is_not_to_be_stored_is_cached(rig: Rig, tmp_path: Path) -> None:
    cache = tmp_path / "cache.json"
    await rig.run(answer("1", A=1), cache=cache, store_enabled=False)
    assert rig.told == ["confirmed"]
    assert json.loads(cache.read_text()) == {"A": 1, "B": 0}


async def test_the_cache_file_has_everything_in_force(rig: Rig, tmp_path: Path) -> None:
    cache = tmp_path / "folder" / "cache.json"
    await rig.run(answer("1", A=1, UNKNOWN=[2]), cache=cache)
    assert json.loads(cache.read_text()) == {"A": 1, "B": 0, "UNKNOWN": [2]}
    await rig.go_on({**answer("2"), "removed": ["A"]})
    assert json.loads(cache.read_text()) == {"A": 0, "B": 0, "UNKNOWN": [2]}


async def test_a_cache_file_that_cannot_be_written_is_an_error_and_no_more(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    await rig.run(answer("1", A=1), cache=tmp_path / "file" / "cache.json")
    (line,) = caplog.records
    assert line.levelname == "ERROR"
    assert line.getMessage().startswith("cannot write the cache file")
    assert rig.told == [{"A": 1}]
    assert rig.counted("full") == {"attempts": 1, "read": 1}


async def test_a_kill_switch_without_a_default_fails_the_update(rig: Rig) -> None:
    bad: dict[str, Any] = {**answer("1"), "kill_switches_disabled": ["ELSEWHERE"]}
    await rig.run(bad, {**answer("1", A=1), "kill_switches_disabled": ["A"]})
    (text, applied) = rig.told
    assert 'got "ELSEWHERE"' in text
    assert applied == {}
