"""Every option with its value, and where it comes from."""

from __future__ import annotations

from datetime import date
from pathlib import PurePosixPath
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, TypeAdapter

from mpchat.config.settings import DEFAULT, SECRET, settings_of
from mpchat.config.types import Duration, OptionsModel, format_duration, parse_duration
from mpchat.config.validation import validate
from mpchat.config.variables import Variables, substitute
from mpchat.config.yaml_file import read_yaml
from mpchat.errors import Problem


class Inner(OptionsModel):
    a: int = 1
    b: Annotated[Duration, Field(alias="b-time")] = 90.0


class Options(OptionsModel):
    number: int = 7
    flag: bool = False
    text: str | None = None
    inner: Inner = Inner()
    many: Annotated[tuple[Inner, ...], Field(strict=False)] = ()
    named: dict[str, Inner] = Field(default_factory=dict)
    words: Annotated[tuple[str, ...], BeforeValidator(lambda text: tuple(text.split(",")))] = ()
    anything: dict[str, Any] = Field(default_factory=dict)
    key: SecretStr | None = None
    keys: Annotated[tuple[SecretStr, ...], Field(strict=False)] = ()


def settings(
    text: str, variables: str = "{}", environment: dict[str, str] | None = None
) -> dict[str, tuple[Any, str]]:
    """Return values and origins by name."""
    sources = Variables(
        (read_yaml(variables, "vars.yaml"),), environment or {}, lambda _path: "from the file"
    )
    lines = "".join(f"    {line}\n" for line in text.splitlines())
    document = substitute(read_yaml(f"section:\n{lines}", "dir/config.yaml"), sources)
    problems: list[Problem] = []
    options = validate(Options, document, ("section",), problems)
    assert options is not None, problems
    return {
        ".".join(map(str, one.path[1:])): (one.value, one.origin)
        for one in settings_of(options, document, ("section",))
    }


def test_what_no_file_sets_is_a_default() -> None:
    found = settings("")
    assert set(found) == {
        *("number", "flag", "text", "inner.a", "inner.b-time", "many", "named", "words"),
        *("anything", "key", "keys"),
    }
    assert {origin for _value, origin in found.values()} == {DEFAULT}
    assert found["inner.b-time"] == ("90s", DEFAULT)
    assert found["many"] == ([], DEFAULT)
    assert settings("inner: {a: 2}")["inner.b-time"] == ("90s", DEFAULT)


def test_a_place_is_that_of_the_value() -> None:
    found = settings("number: 8\nmany:\n  - {a: 2}\n  - {b-time: 60s}\nnamed: {x.y: {}}")
    assert found["number"] == (8, "dir/config.yaml:2:13")
    assert found["many.0.a"] == (2, "dir/config.yaml:4:13")
    assert found["many.0.b-time"] == ("90s", DEFAULT)
    assert found["many.1.b-time"] == ("1m", "dir/config.yaml:5:18")
    assert found["named.x.y.a"] == (1, DEFAULT)


def test_every_source_is_named() -> None:
    found = settings(
        "number: $port\nflag#env: FLAG\ntext#file: secret\ninner: $none\ninner#fallback: {a: 4}\n"
        "named: $names\nanything: {list: [$port, 2]}",
        "port: 80\nnames: {one: {a: 3}}",
        {"FLAG": "true"},
    )
    assert found["number"] == (80, "$port in vars.yaml:1:7")
    assert found["flag"] == (True, "environment variable FLAG")
    assert found["text"] == ("from the file", "dir/secret")
    assert found["inner.a"] == (4, "inner#fallback in dir/config.yaml:6:21")
    assert found["inner.b-time"] == ("90s", DEFAULT)
    assert found["named.one.a"] == (3, "$names in vars.yaml:2:8")
    assert found["anything.list.0"] == (80, "$port in vars.yaml:1:7")
    assert found["anything.list.1"] == (2, "dir/config.yaml:8:30")


def test_a_model_may_have_another_form_than_its_file() -> None:
    found = settings("words: a,b")
    assert found["words.0"] == ("a", "dir/config.yaml:2:12")
    assert found["words.1"] == ("b", "dir/config.yaml:2:12")


def test_no_secret_is_in_the_list() -> None:
    found = settings("key: hush\nkeys: [hush1, hush2]\ntext: loud")
    assert "hush" not in str(found)
    assert found["key"] == (SECRET, "dir/config.yaml:2:10")
    assert found["keys.1"] == (SECRET, "dir/config.yaml:3:19")


def test_an_authors_types_are_shown_as_text() -> None:
    class Odd:
        def __str__(self) -> str:
            return "odd"

    class Authors(OptionsModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        path: PurePosixPath = PurePosixPath("/a")
        day: date = date(2026, 11, 30)
        odd: Odd = Odd()
        wrong: int = "text"  # type: ignore[assignment]

    document = read_yaml("{}", "config.yaml")
    found = {one.path[-1]: one.value for one in settings_of(Authors(), document, ())}
    assert found == {"path": "/a", "day": "2026-11-30", "odd": "odd", "wrong": "text"}


@given(st.integers(0, 3650 * 86400 * 1000))
def test_a_duration_is_written_as_it_would_be_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert round(parse_duration(format_duration(seconds)) * 1000) == milliseconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "0s"), (0.25, "250ms"), (90.0, "90s"), (600.0, "10m"), (7200.0, "2h"), (86400.0, "1d")],
)
def test_a_duration_has_its_largest_unit(seconds: float, text: str) -> None:
    assert TypeAdapter(Duration).dump_python(seconds, mode="json") == text
    assert TypeAdapter(Duration).dump_python(seconds) == seconds
