"""The JSON Schema of a config, for editors, and the defaults of variables, for operators.

Rules. The schema follows validation: unknown options are errors, userver's are known, and any option may
be a ``$variable`` or come with ``#env``, ``#file`` or ``#fallback``.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from mpchat.components.handler_base import HandlerBase
from mpchat.components.list import ComponentList
from mpchat.config.static import ManagerOptions, TaskProcessorOptions
from mpchat.config.userver import load_userver_names
from mpchat.config.validation import models_in
from mpchat.console.options import ConsoleHandlerOptions
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.template.console import CONSOLE_SECTIONS
from mpchat.template.loading import SECTIONS

_VARIABLE = {"type": "string", "pattern": r"^\$."}
_SUFFIXED = "#(env|file|fallback)$"


def config_schema(components: ComponentList) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a static config for these components."""
    names = load_userver_names()
    definitions: dict[str, Any] = {}
    sections = {
        name: _schema(model, names.components.get(name, frozenset()), definitions)
        for name, model in SECTIONS.items()
    }
    for name, model in CONSOLE_SECTIONS.items():
        known = names.components.get(name, frozenset())
        if issubclass(model, ConsoleHandlerOptions):
            known |= names.handler
        sections[name] = _schema(model, known, definitions)
    for name, cls in components.items():
        known = names.components.get(name, frozenset())
        if issubclass(cls, HandlerBase):
            known |= names.handler
        sections[name] = _schema(cls.Options, known, definitions)
    for name in names.components:
        sections.setdefault(name, {"type": ["object", "null"]})
    manager = _schema(ManagerOptions, names.manager, definitions)
    processor = _schema(TaskProcessorOptions, names.task_processor, definitions)
    manager["properties"]["task_processors"] = {
        "type": "object",
        "additionalProperties": processor,
    }
    manager["properties"]["components"] = {
        "type": "object",
        "properties": sections,
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Static config of an mpchat service",
        "type": "object",
        "properties": {"components_manager": manager, "config_vars": {"type": "string"}},
        "required": ["components_manager"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def dynamic_config_defaults(components: ComponentList) -> dict[str, Any]:
    """Return the default of every dynamic variable that the service or a component declares."""
    keys = [*BUILT_IN_KEYS]
    for _name, cls in components.items():
        keys += cls.dynamic_config_keys
    return {key.name: key.default_json() for key in keys}


def _schema(
    model: type[BaseModel], known: frozenset[str], definitions: dict[str, Any]
) -> dict[str, Any]:
    below = _known_by_model(model, [tuple(name.split(".")) for name in known], ())
    schema = model.model_json_schema(by_alias=True)
    for name, definition in schema.pop("$defs", {}).items():
        definitions[name] = _open(definition, below.get(name, set()))
    return _open(schema, below[model.__name__])


def _known_by_model(
    model: type[BaseModel], known: list[tuple[str, ...]], prefix: tuple[str, ...]
) -> dict[str, set[str]]:
    """Return userver's options of a model and of those nested in it, by the model's name."""
    found = {model.__name__: {path[-1] for path in known if path[:-1] == prefix}}
    for name, info in model.model_fields.items():
        for nested in models_in(info.annotation):
            for below in ((*prefix, info.alias or name), (*prefix, info.alias or name, "*")):
                for inner, names in _known_by_model(nested, known, below).items():
                    found.setdefault(inner, set()).update(names)
    return found


def _open(schema: dict[str, Any], known: set[str]) -> dict[str, Any]:
    """Allow a variable for every option, and userver's options."""
    if schema.get("type") != "object" or "properties" not in schema:
        return schema
    properties = {
        name: {"anyOf": [option, _VARIABLE], "description": option.get("description", "")}
        for name, option in schema["properties"].items()
    }
    for name in sorted(known):
        properties.setdefault(name, {})
    result = {**schema, "properties": properties, "patternProperties": {_SUFFIXED: {}}}
    if not schema.get("required"):
        result["type"] = ["object", "null"]
    return result
