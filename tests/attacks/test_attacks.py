"""Every attack in its short form: no honest client suffers, limits end attackers, all is back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attacks.attack import SHORT, run
from tests.attacks.kinds import Attack, attacks


@pytest.mark.parametrize(
    "attack", attacks(SHORT.attackers, SHORT.honest), ids=lambda attack: attack.name
)
def test_the_bars_hold(attack: Attack, tmp_path: Path) -> None:
    assert run(attack, tmp_path, SHORT).failures == []
