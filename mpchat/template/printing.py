"""What editors and operators ask of the models: the JSON Schema of a config, the defaults of variables.

Rules. The schema says what validation says: unknown options are errors, userver's are known, and any
option may be a ``$variable`` or come with ``#env``, ``#file`` or ``#fallback``.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, TypeAdapter

from mpchat.components.handler_base import HandlerBase
from mpchat.components.list import ComponentList
from mpchat.config.static import ManagerOptions, TaskProcessorOptions
from mpchat.config.userver import load_userver_names
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
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
    return {
        key.name: TypeAdapter(key.type).dump_python(key.default, mode="json", by_alias=True)
        for key in keys
    }


def _schema(
    model: type[BaseModel], known: frozenset[str], definitions: dict[str, Any]
) -> dict[str, Any]:
    schema = model.model_json_schema(by_alias=True)
    for name, definition in schema.pop("$defs", {}).items():
        definitions[name] = _open(definition, _below(name, model, known))
    return _open(schema, [name for name in known if "." not in name])


def _below(definition: str, model: type[BaseModel], known: frozenset[str]) -> list[str]:
    """Return userver's options of a nested model: those under the field that holds it."""
    found = []
    for name, info in model.model_fields.items():
        if definition in repr(info.annotation):
            prefix = f"{info.alias or name}."
            found += [option.rpartition(".")[2] for option in known if option.startswith(prefix)]
    return found


def _open(schema: dict[str, Any], known: list[str]) -> dict[str, Any]:
    """Let every option be a variable, and userver's options be there."""
    if schema.get("type") != "object" or "properties" not in schema:
        return schema
    properties = {
        name: {"anyOf": [option, _VARIABLE], "description": option.get("description", "")}
        for name, option in schema["properties"].items()
    }
    for name in known:
        properties.setdefault(name, {})
    result = {**schema, "properties": properties, "patternProperties": {_SUFFIXED: {}}}
    if not schema.get("required"):
        result["type"] = ["object", "null"]
    return result
