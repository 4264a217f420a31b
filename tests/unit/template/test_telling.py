"""How loud the template says how the hot path runs."""

from __future__ import annotations

import logging

import pytest

from mpchat.compiled import Form
from mpchat.template.template import log_form


@pytest.mark.parametrize(
    ("form", "level", "text"),
    [
        (Form(True), logging.INFO, "compiled"),
        (
            Form(False, "MPCHAT_COMPILED=0", wanted=True),
            logging.INFO,
            "interpreted: MPCHAT_COMPILED=0",
        ),
        (
            Form(False, "its source has changed"),
            logging.WARNING,
            "interpreted: its source has changed",
        ),
    ],
)
def test_only_what_nobody_asked_for_is_a_warning(
    form: Form, level: int, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    log_form(form)
    assert caplog.record_tuples == [("mpchat.template", level, f"the hot path is {text}")]
