"""Planted mistakes are planted, once, or say that they cannot be."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.mutants import Mutation, mutated

MODULE = "mpchat.websocket.headers"


def test_an_expression_and_a_statement_are_replaced() -> None:
    from mpchat.websocket import headers

    changed = mutated(
        Mutation(MODULE, "check_opening", "second < 0x80", "False"),
        Mutation(MODULE, "check_opening", "opcode = first & 0x0F", "opcode = 1"),
    )[MODULE]
    assert headers.check_opening(0x83, 0) == "unknown opcode 3"
    assert changed.check_opening(0x83, 0) is None
    assert headers.check_opening(0x81, 0) == "a client's frames must be masked"
    assert sys.modules[MODULE] is headers


def test_layout_does_not_matter() -> None:
    assert mutated(Mutation(MODULE, "check_opening", "( second<128 )", "False"))
    assert mutated(Mutation(MODULE, "check_opening", "second\n    < 0x80", "False"))


@pytest.mark.parametrize("function", ["check_opening", "nothing", "check_opening.inner"])
def test_what_cannot_be_planted_is_an_error(function: str) -> None:
    with pytest.raises(LookupError, match=function):
        mutated(Mutation(MODULE, function, "no_such_code", "False"))
    with pytest.raises(LookupError, match=function):
        mutated(Mutation(MODULE, function, "opcode", "second"))


def test_a_user_of_a_changed_module_is_made_anew() -> None:
    parser = "mpchat.websocket.parser"
    changed = mutated(Mutation(MODULE, "check_opening", "second < 0x80", "False"), users=(parser,))
    assert changed[parser].check_opening is changed[MODULE].check_opening
    assert sys.modules[parser].check_opening is not changed[MODULE].check_opening


def test_a_process_can_import_a_mistake() -> None:
    code = (
        "from tests.mutants import Mutation, plant\n"
        f"plant(Mutation({MODULE!r}, 'check_opening', 'second < 0x80', 'False'))\n"
        "from mpchat.websocket.headers import check_opening\n"
        "print(check_opening(0x81, 0))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, text=True, capture_output=True)
    assert done.stdout == "None\n"
