"""``$name``: where values come from, in which order, and what is said when they are wrong."""

from __future__ import annotations

import pytest

from mpchat.config.types import OptionsModel
from mpchat.config.validation import validate
from mpchat.config.variables import Variables, substitute
from mpchat.config.yaml_file import read_yaml
from mpchat.errors import ConfigError, Problem

FILES = {"dir/secret": "from file", "dir/broken": "a: ["}


def read(path: str) -> str:
    if path not in FILES:
        raise ConfigError([Problem(path, 0, 0, "", "cannot be read")])
    return FILES[path]


def result(text: str, *variables: str, environment: dict[str, str] | None = None) -> object:
    documents = tuple(read_yaml(part, f"vars{n}.yaml") for n, part in enumerate(variables))
    source = Variables(documents, environment or {}, read)
    return substitute(read_yaml(text, "dir/config.yaml"), source).value


@pytest.mark.parametrize(
    ("text", "variables", "environment", "expected"),
    [
        ("a: $x", ("x: 1",), {}, {"a": 1}),
        ("a: $x", ("x: 1", "x: 2"), {}, {"a": 2}),
        ("a: $x", ("x: {b: [1, 2]}",), {}, {"a": {"b": [1, 2]}}),
        ("a: [$x, 2, $none]", ("x: 1",), {}, {"a": [1, 2]}),
        ("a: $x", (), {}, {}),
        ("a: $x\na#fallback: 3", (), {}, {"a": 3}),
        ("a: $x\na#fallback: 3", ("x: null",), {}, {"a": None}),
        ("a#fallback: 3", (), {}, {"a": 3}),
        ("a: $x\na#env: VALUE\na#fallback: 3", (), {"VALUE": "8080"}, {"a": 8080}),
        ("a: $x\na#env: VALUE\na#fallback: 3", (), {}, {"a": 3}),
        ("a: $x\na#env: VALUE", ("x: 1",), {"VALUE": "2"}, {"a": 1}),
        ("a: $x\na#file: secret\na#fallback: 3", (), {}, {"a": "from file"}),
        ("a#env: VALUE\na#file: secret", (), {"VALUE": "e"}, {"a": "e"}),
        ("a: b\na#fallback: 3", (), {}, {"a": "b"}),
        ("a: {b: $x, c: 1}", (), {}, {"a": {"c": 1}}),
        ("a: cost$x", ("x: 1",), {}, {"a": "cost$x"}),
    ],
)
def test_rules(
    text: str, variables: tuple[str, ...], environment: dict[str, str], expected: object
) -> None:
    assert result(text, *variables, environment=environment) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("token#env: TOKEN", "the environment variable TOKEN is not set"),
        ("token#file: none", "the file none cannot be used"),
        (
            "token: $secret\ntoken#env: TOKEN",
            "$secret is not defined and the environment variable TOKEN is not set",
        ),
    ],
)
def test_a_missing_value_is_told_with_where_it_was_looked_for(text: str, reason: str) -> None:
    class Options(OptionsModel):
        token: str

    text = "auth:\n    " + text.replace("\n", "\n    ")
    document = substitute(read_yaml(text, "dir/config.yaml"), Variables((), {}, read))
    problems: list[Problem] = []
    assert validate(Options, document, ("auth",), problems) is None
    (found,) = problems
    assert found.text == f"required, but missing (token: {reason})"


def test_files_that_are_missing_or_broken() -> None:
    source = Variables((), {}, read)
    document = substitute(read_yaml("a#file: none\nb#file: broken", "dir/config.yaml"), source)
    assert sorted(str(problem) for problem in document.problems) == [
        "dir/config.yaml:2:9: b#file: dir/broken: not valid YAML: expected the node content, "
        "but found '<stream end>'",
        "dir/none: cannot be read",
    ]


class Options(OptionsModel):
    a: int


def test_a_wrong_variable_is_named_with_its_place() -> None:
    source = Variables((read_yaml("y: 1\nx: many", "vars.yaml"),), {}, read)
    document = substitute(read_yaml("a: $x", "config.yaml"), source)
    problems: list[Problem] = []
    assert validate(Options, document, (), problems) is None
    expected = "config.yaml:1:4: a: expected an integer, got 'many' ($x in vars.yaml:2:4)"
    assert [str(problem) for problem in problems] == [expected]
