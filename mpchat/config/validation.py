"""Applies option models to a document: every mistake becomes one sentence with its place.

Rules. pydantic finds the mistakes; the words are ours: what was expected, what was found. An option that
only userver has is not a mistake; it is noted, so that one warning can name all of them.
"""

from __future__ import annotations

import difflib
import json
import os
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mpchat.config.yaml_file import Document, Path, dotted, problem
from mpchat.errors import Problem

Model = TypeVar("Model", bound=BaseModel)

_KINDS = {
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a string",
    "dict_type": "a mapping",
    "list_type": "a list",
    "tuple_type": "a list",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "none_required": "null",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_MAX_SHOWN = 60


def at(value: Any, path: Path) -> Any:
    """Return the part of a value at a path, or None."""
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def validate(
    model: type[Model],
    document: Document,
    path: Path,
    problems: list[Problem],
    known: frozenset[str] = frozenset(),
    ignored: list[str] | None = None,
) -> Model | None:
    """Return the model for the section at ``path``, or None after adding to ``problems``.

    ``known`` names options of userver that the model may lack (UserverNames); those that the section
    has are added to ``ignored``. A null section is an empty one.
    """
    section = at(document.value, path)
    if section is None:
        section = {}
    context = {"folder": os.path.dirname(document.file)}
    try:
        return model.model_validate(section, context=context)
    except ValidationError as error:
        details = error.errors(include_url=False)
    serious = False
    stripped = section
    for detail in details:
        inside = _strip(detail, model)
        if detail["type"] == "extra_forbidden" and _is_known(inside, known):
            # An empty value asks for nothing, so it needs no warning.
            asks = detail["input"] is not None and detail["input"] != ""
            if ignored is not None and asks:
                ignored.append(dotted((*path, *inside)).removeprefix("components."))
            stripped = _without(stripped, inside)
            continue
        serious = True
        problems.append(problem(document, (*path, *inside), describe(detail, model)))
    if serious:
        return None
    try:
        return model.model_validate(stripped, context=context)
    except ValidationError as error:
        # The model checks combinations of options only when each option alone is right.
        details = error.errors(include_url=False)
    for detail in details:
        place = (*path, *_strip(detail, model))
        problems.append(problem(document, place, describe(detail, model)))
    return None


def describe(detail: ErrorDetails, model: type[BaseModel] | None = None) -> str:
    """Return what was expected and what was found."""
    kind = detail["type"]
    context = detail.get("ctx", {})
    found = shown(detail["input"])
    if kind == "missing":
        return "required, but missing"
    if kind == "extra_forbidden":
        return "unknown option" + _suggestion(str(detail["loc"][-1]), model, detail["loc"])
    if kind in _KINDS:
        return f"expected {_KINDS[kind]}, got {found}"
    if kind in _BOUNDS:
        words, key = _BOUNDS[kind]
        return f"expected {words} {context[key]}, got {found}"
    if kind in {"literal_error", "enum"}:
        return f"expected {context['expected']}, got {found}"
    if kind == "string_pattern_mismatch":
        return f"expected a string that matches {context['pattern']}, got {found}"
    if kind == "too_short":
        return f"expected at least {context['min_length']} items, got {found}"
    if kind == "string_too_short":
        return f"expected at least {context['min_length']} characters, got {found}"
    if kind == "value_error":
        return str(context.get("error", detail["msg"]))
    message = detail["msg"]
    text = message[0].lower() + message[1:]
    return f"{text}, got {found}"


def shown(value: Any) -> str:
    """Return a value as the file's author would write it, shortened."""
    try:
        quoted = isinstance(value, str)
        text = f"'{value}'" if quoted else json.dumps(value, ensure_ascii=False, default=str)
    except ValueError:
        # YAML reads 0x… of any length; Python refuses to write thousands of digits in decimal.
        return "a number too long to show"
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 1] + "…"


def _is_known(path: Path, known: frozenset[str]) -> bool:
    return any(
        len(parts) == len(path)
        and all(part in {"*", str(own)} for part, own in zip(parts, path, strict=True))
        for parts in (name.split(".") for name in known)
    )


def _strip(detail: ErrorDetails, model: type[BaseModel]) -> Path:
    """Return the path in the file, without the names of union members that pydantic adds."""
    path: list[str | int] = []
    for part in detail["loc"]:
        if isinstance(part, str) and (part in _TYPE_NAMES or part.startswith("function-")):
            continue
        if part == "[key]":
            continue
        path.append(part)
    return tuple(path)


_TYPE_NAMES = frozenset({"int", "str", "bool", "float", "none", "constrained-int"})


def _suggestion(name: str, model: type[BaseModel] | None, loc: tuple[str | int, ...]) -> str:
    if model is None:
        return ""
    names = _option_names(model, loc[:-1])
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean '{close[0]}'?" if close else f"; known are {', '.join(sorted(names))}"


def _option_names(model: type[BaseModel], path: tuple[str | int, ...]) -> list[str]:
    """Return the options of a model at a path, through nested models."""
    for part in path:
        for name, info in model.model_fields.items():
            if part == (info.alias or name):
                nested = models_in(info.annotation)
                if nested:
                    model = nested[0]
                break
    return [info.alias or name for name, info in model.model_fields.items()]


def models_in(annotation: Any) -> list[type[BaseModel]]:
    """Return the option models in a type, also within a union or a container."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    arguments = getattr(annotation, "__args__", ())
    return [model for argument in arguments for model in models_in(argument)]


def _without(section: Any, path: Path) -> Any:
    """Return a copy of the section without the option at a path."""
    if isinstance(section, list):
        return [
            _without(item, path[1:]) if number == path[0] else item
            for number, item in enumerate(section)
        ]
    if not isinstance(section, dict):
        return section
    head, rest = path[0], path[1:]
    if not rest:
        return {key: value for key, value in section.items() if key != head}
    return {key: _without(value, rest) if key == head else value for key, value in section.items()}
