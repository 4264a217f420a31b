"""A few of the lives that `python -m tests.injection` tries: a service lives on, whatever call fails."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.injection.__main__ import injections, run
from tests.injection.calls import ENDS
from tests.injection.scenario import Record, record

LIVES = 12
MIN_INJECTED = 5
"""Lives in which the call is made at all."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Record:
    folder = tmp_path_factory.mktemp("record") / "life"
    folder.mkdir()
    return record(folder)


def test_a_service_lives_on_whatever_call_fails(recorded: Record, tmp_path: Path) -> None:
    # Another sample each time; what fails is named, and can be tried again by that name.
    chosen = injections(recorded, every=False)
    sample = random.sample(chosen, LIVES)
    happened = 0
    failed = []
    for injection, hit, problems, log in run(sample, recorded, tmp_path, seconds=600):
        happened += hit
        if problems:
            failed.append(f"{injection}: {problems}\n{log}")
    assert failed == []
    assert happened >= MIN_INJECTED


def test_a_supervisor_that_ends_is_noticed(recorded: Record, tmp_path: Path) -> None:
    chosen = injections(recorded, every=False)
    some = next(i for i in chosen if i.role == "supervisor" and i.name == "waitpid")
    ((_injection, hit, problems, _log),) = run([replace(some, errno=ENDS)], recorded, tmp_path, 1)
    assert hit
    assert problems
