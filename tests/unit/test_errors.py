"""What an author reads of a failure: the own code, and no frames of its callers."""

from __future__ import annotations

import pytest

from mpchat.components.component import ComponentError
from mpchat.errors import describe_failure


def author_s_code() -> None:
    raise LookupError("no database")


def test_an_error_of_ours_shows_its_cause_first() -> None:
    text = "component chat failed to start: no database"
    with pytest.raises(ComponentError) as caught:
        try:
            author_s_code()
        except LookupError as error:
            raise ComponentError(text) from error
    lines = describe_failure(caught.value).splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-2:] == ["LookupError: no database", text]
    assert sum(line.startswith("Traceback") for line in lines) == 1


def test_any_other_error_is_shown_whole() -> None:
    with pytest.raises(LookupError) as caught:
        author_s_code()
    lines = describe_failure(caught.value).splitlines()
    assert lines[-1] == "LookupError: no database"
    assert any("in author_s_code" in line for line in lines)
    assert any("in test_any_other_error_is_shown_whole" in line for line in lines)
