"""What authors' changes to the dynamic config come to, without a service."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any

import pytest

from mpchat.testsuite.dynamic_config import USE_STATIC_DEFAULT, DynamicConfig, switch


class InMemory(DynamicConfig):
    """Uses every value but ``refused``."""

    def __init__(self, **values: Any) -> None:
        super().__init__()
        self.values = values
        self.disabled: set[str] = set()

    def _values(self) -> dict[str, Any]:
        return copy.deepcopy(self.values)

    def _apply(self, values: dict[str, Any], disabled: Collection[str]) -> None:
        if "refused" in values.values():
            raise ValueError("no")
        self.values, self.disabled = values, {*disabled}


def test_values_are_set_and_removed() -> None:
    config = InMemory(A=1)
    config.set(B=2)
    config.set_values({"C-D": 3})
    assert (config.get("A"), config.get("C-D"), config.get("E", 5)) == (1, 3, 5)
    config.remove("A")
    assert config.values == {"B": 2, "C-D": 3}
    for missing in (config.get, config.remove):
        with pytest.raises(KeyError):
            missing("A")


def test_values_are_modified_in_place() -> None:
    config = InMemory(A={"x": 1}, B=[1])
    with config.modify("A") as value:
        value["x"] = 2
        assert config.get("A") == {"x": 1}
    with config.modify_many("A", "B") as (one, other):
        one["y"] = 3
        other.append(2)
    assert config.values == {"A": {"x": 2, "y": 3}, "B": [1, 2]}


def test_a_block_that_fails_changes_nothing() -> None:
    config = InMemory(A=[1])
    with pytest.raises(ZeroDivisionError), config.modify("A") as value:
        value.append(1 / 0)
    assert config.values == {"A": [1]}


def test_a_variable_is_switched_off_and_on() -> None:
    config = InMemory(A=1, B=2)
    config.switch_to_static_default("A", "NONE")
    assert (config.values, config.disabled) == ({"B": 2}, {"A", "NONE"})
    assert config.get("A", None) is None
    config.switch_to_static_default("A")
    config.switch_to_dynamic_value("A", "B", "NONE")
    assert (config.values, config.disabled) == ({"A": 1, "B": 2}, set())
    config.set(A=USE_STATIC_DEFAULT)
    config.set(A=3)
    assert (config.values, config.disabled) == ({"A": 3, "B": 2}, set())
    config.set(A=USE_STATIC_DEFAULT)
    config.remove("A")
    config.switch_to_dynamic_value("A")
    assert (config.values, config.disabled) == ({"B": 2}, set())


def test_what_is_refused_changes_nothing() -> None:
    config = InMemory(A=1, B=2)
    config.set(B=USE_STATIC_DEFAULT)
    with pytest.raises(ValueError, match="no"):
        config.set(A="refused", B=3)
    assert (config.values, config.disabled) == ({"A": 1}, {"B"})
    config.switch_to_dynamic_value("B")
    assert config.values == {"A": 1, "B": 2}


def test_markers_set_values_aside_as_well() -> None:
    values, aside = switch({"A": 1}, {}, {"A": USE_STATIC_DEFAULT, "B": 2})
    assert (values, aside) == ({"B": 2}, {"A": 1})
    assert repr(USE_STATIC_DEFAULT) == "USE_STATIC_DEFAULT"
