"""Adds the names in source trees of userver to mpchat/config/userver_names.json (make userver-names).

Rules. Only names are taken, no code: of components, options and dynamic variables. None is removed, so
that configs of older versions go on loading; delete by hand what was never userver's. What mpchat has
itself is left out, as are the options below one that it does not have.

A component's name is the ``kName`` of its class. Options stand in JSON Schemas, written in YAML: in files
of their own (v3), or as raw strings in C++ (v2).
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from mpchat.components.handler_base import HandlerBase
from mpchat.config.static import ManagerOptions, TaskProcessorOptions
from mpchat.config.validation import models_in
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.handlers.lists import default_component_list
from mpchat.template.loading import SECTIONS

TARGET = Path(__file__).parent.parent / "mpchat" / "config" / "userver_names.json"

_SCHEMAS = {
    "server": "core/src/server/component",
    "logging": "core/src/logging/component",
    "dynamic-config": "core/src/dynamic_config/storage/component",
    "handler-ping": "core/src/server/handlers/ping",
    "tests-control": "core/src/server/handlers/tests_control",
}
"""Where the schemas of our own sections are, without the suffix. Sections that are not ours need none."""
_HANDLER = (
    "core/src/server/handlers/handler_base",
    "core/src/server/handlers/http_handler_base",
)
_MANAGER = "core/src/components/manager_config"
_RAW_STRING = re.compile(r'R"\((.*?)\)"', re.DOTALL)
_COMPONENT = re.compile(
    r"\b(?:class|struct)\s[^;{]*:\s*public\s[^;{]*(?:Component|Handler|Factory|Base)[^;{]*\{"
    r"""(?:(?!\bclass\b).){0,2000}?\bkName\b\s*(?:=\s*|\{)"([a-z][a-z0-9-]*)\"""",
    re.DOTALL,
)
_COMMENT = re.compile(r"//.*")
_VARIABLE = re.compile(r'\bKey<[^;]{0,200}?"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"', re.DOTALL)
_OF_TESTS = re.compile(
    r"(^|/)((functional_|golden_)?tests?|utest|testing|samples|service_template|conan|third_party)/"
    r"|_(test|benchmark)\.[a-z]+$"
)


class TreeError(Exception):
    """A tree is not laid out as those of userver that this script knows; says what is missing."""


class Tree:
    """A source tree of userver."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def components(self) -> set[str]:
        """Return the names of all components, and of whatever else names itself as they do."""
        sources = (_COMMENT.sub("", text) for text in self._sources())
        found = {name for text in sources for name in _COMPONENT.findall(text)}
        if not found:
            raise TreeError(f"{self._root}: no component in it")
        return found

    def variables(self) -> set[str]:
        """Return the names of all dynamic variables."""
        files = self._files("**/dynamic_configs/*.yaml")
        return {path.stem for path in files} | {
            name for text in self._sources() for name in _VARIABLE.findall(text)
        }

    def options(self, schema: str, model: type[BaseModel], *inside: str) -> set[str]:
        """Return the dotted paths of a schema's options that the model does not have."""
        section = self._schema(schema)
        for name in inside:
            section = section["properties"][name]["additionalProperties"]
        return set(_missing(section, model, ""))

    def _sources(self) -> Iterator[str]:
        for pattern in ("**/*.hpp", "**/*.cpp"):
            for path in self._files(pattern):
                yield path.read_text(errors="replace")

    def _files(self, pattern: str) -> list[Path]:
        found = self._root.glob(pattern)
        return [path for path in found if not _OF_TESTS.search(str(path.relative_to(self._root)))]

    def _schema(self, stem: str) -> dict[str, Any]:
        as_yaml = self._root / f"{stem}.yaml"
        if as_yaml.exists():
            schema: dict[str, Any] = yaml.safe_load(as_yaml.read_text())
            return schema
        source = self._root / f"{stem}.cpp"
        texts = _RAW_STRING.findall(source.read_text()) if source.exists() else []
        for text in texts:
            if "properties:" in text:
                schema = yaml.safe_load(text)
                return schema
        raise TreeError(f"{self._root}: no schema in {stem}.yaml or .cpp")


def _missing(schema: dict[str, Any], model: type[BaseModel], prefix: str) -> Iterator[str]:
    ours = {info.alias or name: info for name, info in model.model_fields.items()}
    for name, option in schema.get("properties", {}).items():
        if name not in ours:
            yield f"{prefix}{name}"
            continue
        for nested in models_in(ours[name].annotation):
            yield from _missing(option, nested, f"{prefix}{name}.")
            for each in ("additionalProperties", "items"):
                if isinstance(inner := option.get(each), dict):
                    yield from _missing(inner, nested, f"{prefix}{name}.*.")


def add(trees: list[Tree], names: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the file, ``names``, with what is in the trees."""
    components = {name: set(options) for name, options in names["components"].items()}
    found = {key: set(names[key]) for key in names if key != "components"}
    models: dict[str, type[BaseModel]] = {**SECTIONS}
    models |= {name: cls.Options for name, cls in default_component_list().items()}
    for tree in trees:
        for name in tree.components():
            components.setdefault(name, set())
        for name, stem in _SCHEMAS.items():
            components[name] |= tree.options(stem, models[name])
        for stem in _HANDLER:
            found["handler"] |= tree.options(stem, HandlerBase.Options)
        found["components_manager"] |= tree.options(_MANAGER, ManagerOptions)
        found["task_processor"] |= tree.options(_MANAGER, TaskProcessorOptions, "task_processors")
        found["variables"] |= tree.variables() - {key.name for key in BUILT_IN_KEYS}
    content: dict[str, Any] = {key: sorted(found[key]) for key in found}
    content["components"] = {name: sorted(components[name]) for name in sorted(components)}
    return content


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("trees", nargs="+", type=Path, help="checkouts of userver, of any version")
    options = parser.parse_args()
    try:
        names = add([Tree(path) for path in options.trees], json.loads(TARGET.read_text()))
    except TreeError as error:
        parser.exit(1, f"{error}\n")
    TARGET.write_text(json.dumps(names, indent=1) + "\n")


if __name__ == "__main__":
    main()
