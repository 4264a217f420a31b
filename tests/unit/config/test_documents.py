"""Texts to values and places; whatever the text is, only a ConfigError comes out."""

from __future__ import annotations

import contextlib
import json
from collections import ChainMap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpchat.config.static import load_static
from mpchat.config.types import OptionsModel, parse_duration
from mpchat.config.userver import load_userver_names
from mpchat.config.validation import at, validate
from mpchat.config.yaml_file import read_yaml
from mpchat.dynamic_config.fallback import load
from mpchat.dynamic_config.json_file import read_json
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import BUILT_IN_KEYS, DRAIN, LIMITS, Drain
from mpchat.errors import ConfigError, Problem

PIECES = ["a", "b", ": ", "\n", "  ", "- ", "[", "]", "{", "}", "'", '"', "&x ", "*x", "<<: "]
PIECES += ["!!int ", "!!bool ", "#", "|", ">", "1", "~", "\t", "? ", "---\n", "é"]
YAML_PIECES = st.lists(st.sampled_from(PIECES)).map("".join)


@given(st.one_of(st.text(), YAML_PIECES))
def test_any_text_is_a_document_or_a_config_error(text: str) -> None:
    names = load_userver_names()
    for read in (
        read_yaml,
        read_json,
        lambda text, file: load_static(read_yaml(text, file), names),
    ):
        with contextlib.suppress(ConfigError):
            read(text, "f")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
"""Without a limit most of the time goes into drawing values that are no deeper."""


@given(st.dictionaries(st.text(), JSON), st.sampled_from([None, 1, "\t"]))
def test_every_json_value_has_its_place(value: dict[str, object], indent: int | str | None) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    document = read_json(text, "f")
    assert document.value == value
    lines = text.split("\n")
    for name, part in value.items():
        line, column = document.places[(name,)]
        rest = "\n".join([lines[line - 1][column - 1 :], *lines[line:]])
        assert json.JSONDecoder().raw_decode(rest)[0] == part


def test_places_and_merge_keys() -> None:
    text = "base: &b\n  x: 1\n  y: 2\nuse:\n  <<: *b\n  y: 3\n"
    document = read_yaml(text, "f")
    assert document.value == {"base": {"x": 1, "y": 2}, "use": {"y": 3, "x": 1}}
    assert document.places["use", "y"] == (6, 6)


MAPPINGS = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(["x", "y", "name"]), st.integers(0, 9)),
        st.lists(st.integers(0, 3)),
        st.booleans(),
    ),
    max_size=4,
)
"""Of each mapping: its own keys, which earlier ones it merges, whether it merges them before its own"""


@given(MAPPINGS)
def test_merge_keys_are_those_of_the_specification(
    mappings: list[tuple[dict[str, int], list[int], bool]],
) -> None:
    lines = []
    expected: list[dict[str, int]] = []
    for index, (own, merged, first) in enumerate(mappings):
        earlier = [number for number in merged if number < index]
        keys = [f"  {name}: {value}" for name, value in own.items()]
        merge = f"  <<: [{', '.join(f'*m{number}' for number in earlier)}]"
        keys.insert(0 if first else len(keys), merge)
        lines += [f"m{index}: &m{index}", *keys]
        expected.append(dict(ChainMap(own, *(expected[number] for number in earlier))))
    document = read_yaml("\n".join(lines), "f")
    assert document.problems == ()
    assert list((document.value or {}).values()) == expected
    for path, (line, column) in document.places.items():
        if isinstance(number := at(document.value, path), int):
            assert lines[line - 1][column - 1 :] == str(number)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &a {x: 1}\nc:\n  <<: *a\n  <<: *a", "f:4:3: c.<<: given twice, first in line 3"),
        ("a: &a {x: 1, x: 2}\nc: {<<: *a}", "f:1:14: a.x: given twice, first in line 1"),
        ("a: &a {<<: 1}\nc: {<<: [*a, *a]}", "f:1:12: a: expected a mapping after <<"),
        ("c: {<<: [{x: 1}, 5]}", "f:1:18: c: expected a mapping after <<"),
        ("c: {<<: {[1]: 1}}", "f:1:10: c: expected a name as key"),
    ],
)
def test_mistakes_in_what_is_merged_are_told_once(text: str, expected: str) -> None:
    assert [str(problem) for problem in read_yaml(text, "f").problems] == [expected]


def test_a_mapping_that_merges_itself_is_refused() -> None:
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_yaml("a: &a\n  <<: *a", "f")


class Options(OptionsModel):
    number: int = 1
    flag: bool = False
    text: str = ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("number: 1.5", "f:1:9: number: expected an integer, got 1.5"),
        ("number: true", "f:1:9: number: expected an integer, got true"),
        ("flag: 1", "f:1:7: flag: expected true or false, got 1"),
        ("text: 1", "f:1:7: text: expected a string, got 1"),
        (
            "flag: [0x" + "f" * 5000 + "]",
            "f:1:7: flag: expected true or false, got a number too long to show",
        ),
        ("number: .nan", "f:1:9: number: expected an integer, got NaN"),
        ("number: -.inf", "f:1:9: number: expected an integer, got -Infinity"),
        ("nmber: 1", "f:1:8: nmber: unknown option; did you mean 'number'?"),
    ],
)
def test_words_of_mistakes(text: str, expected: str) -> None:
    problems: list[Problem] = []
    assert validate(Options, read_yaml(text, "f"), (), problems) is None
    assert [str(problem) for problem in problems] == [expected]


def test_options_of_userver_are_noted_and_left_out() -> None:
    problems: list[Problem] = []
    ignored: list[str] = []
    document = read_yaml("number: 2\nother: 3", "f")
    found = validate(Options, document, (), problems, frozenset({"other"}), ignored)
    assert found == Options(number=2)
    assert (problems, ignored) == ([], ["other"])


def test_durations() -> None:
    assert [parse_duration(text) for text in ("500ms", "10s", "2m", "1h", "1d")] == [
        0.5,
        10,
        120,
        3600,
        86400,
    ]


def test_layers_replace_whole_variables_and_absent_ones_have_defaults() -> None:
    below = read_json('{"MPCHAT_DRAIN": {"window_ms": 1, "deadline_ms": 2}, "A": 1}', "below")
    above = read_json('{"MPCHAT_DRAIN": {"window_ms": 3}, "B": 2}', "above")
    loaded = load([below, above], BUILT_IN_KEYS, frozenset({"A"}))
    assert loaded.warnings == ["dynamic config: kept, but nothing here declares B"]
    snapshot = Snapshot(1, loaded.values, BUILT_IN_KEYS)
    assert snapshot[DRAIN] == Drain(window_ms=3)
    assert snapshot[LIMITS].max_connections is None
    assert (snapshot.raw("A"), snapshot.raw("none")) == (1, None)
