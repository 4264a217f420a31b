"""Every death within a write to the history, in short; `python -m tests.cuts` is the long form."""

from __future__ import annotations

import pytest

from tests.cuts import SHORT, Cuts, Scale


@pytest.mark.parametrize(
    ("scale", "images"),
    [
        pytest.param(SHORT, 2500, id="each-byte"),
        pytest.param(Scale(turns=9, step=400), 1000, id="ids-expire"),
        pytest.param(Scale(turns=12, same=True, cuts=False, pieces=40), 500, id="other-pieces"),
    ],
)
def test_a_death_at_any_byte_loses_nothing_and_revives_nothing(scale: Scale, images: int) -> None:
    tally = Cuts(scale, 0).run()
    assert tally.wrong == []
    assert tally.images > images
