"""Every torture in its short form: its bar holds, and is missed without the measure it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.catalogue import TORTURES
from tests.chaos.served.sitecustomize import MEASURES, module_of
from tests.chaos.torture import SHORT, Torture
from tests.mutants import Mutation, mutated


@pytest.mark.parametrize("torture", TORTURES, ids=lambda torture: torture.name)
def test_the_bar_holds(torture: Torture, tmp_path: Path) -> None:
    assert torture.run(tmp_path, SHORT, "").failures == []


@pytest.mark.parametrize(
    ("torture", "measure"),
    [
        pytest.param(torture, measure, id=f"{torture.name}-{measure}")
        for torture in TORTURES
        for measure in torture.short
    ],
)
def test_the_bar_is_missed_without_the_measure(
    torture: Torture, measure: str, tmp_path: Path
) -> None:
    assert torture.run(tmp_path, SHORT, measure).failures


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_can_be_switched_off(measure: str) -> None:
    assert mutated(*(Mutation(module_of(module), *change) for module, *change in MEASURES[measure]))
