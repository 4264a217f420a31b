"""Planted mistakes: a statement or an expression of one function replaced in its syntax tree.

A mutation names the function and quotes its code, in whatever layout, which must be in there once. So it
fails with a clear message when that code has changed, rather than planting nothing.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

Tree = ast.AST


@dataclass(frozen=True)
class Mutation:
    """One change of a module.

    Attributes:
        function: ``name`` or ``Class.name``; empty for the module's own statements.
        old, new: An expression, or statements.
    """

    module: str
    function: str
    old: str
    new: str


def mutated(*mutations: Mutation, users: Sequence[str] = ()) -> dict[str, ModuleType]:
    """Return new, changed modules by name; those that are imported stay as they are.

    They, and ``users``, which are made anew as well, use each other's changed functions.
    """
    modules: dict[str, ModuleType] = {}
    for name in dict.fromkeys((*(mutation.module for mutation in mutations), *users)):
        imported = importlib.import_module(name)
        path = _source(name)
        code = _compiled(Path(path).read_text(), path, _of(name, mutations))
        modules[name] = ModuleType(name)
        # Dataclasses look their module up.
        sys.modules[name] = modules[name]
        try:
            exec(code, vars(modules[name]))
        finally:
            sys.modules[name] = imported
    for module in modules.values():
        for other in modules.values():
            for name in vars(module).keys() & vars(other).keys():
                value = vars(other)[name]
                if getattr(value, "__module__", None) == other.__name__:
                    setattr(module, name, value)
    return modules


def plant(*mutations: Mutation) -> None:
    """Change modules that this process has not imported yet, when it imports them."""
    sys.meta_path.insert(0, _Finder(mutations))


class _Finder(MetaPathFinder):
    def __init__(self, mutations: Sequence[Mutation]) -> None:
        self._mutations = mutations

    def find_spec(
        self, name: str, path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        mutations = _of(name, self._mutations)
        spec = PathFinder.find_spec(name, path) if mutations else None
        if spec is not None:
            spec.loader = _loader(name, str(spec.origin), mutations)
        return spec


class _MutatingLoader(SourceFileLoader):
    mutations: Sequence[Mutation] = ()

    def get_code(self, fullname: str) -> CodeType:
        # Not from a cached .pyc, and none is written.
        path = self.get_filename(fullname)
        return _compiled(self.get_data(path).decode(), path, self.mutations)


def _loader(name: str, path: str, mutations: Sequence[Mutation]) -> Loader:
    loader = _MutatingLoader(name, path)
    loader.mutations = mutations
    return loader


def _source(name: str) -> str:
    """Return the path of a module's Python source, whichever form of it is imported."""
    package = importlib.import_module(name.rpartition(".")[0])
    spec = PathFinder.find_spec(name, package.__path__)
    assert spec is not None
    return str(spec.origin)


def _of(module: str, mutations: Sequence[Mutation]) -> list[Mutation]:
    return [mutation for mutation in mutations if mutation.module == module]


def _compiled(source: str, path: str, mutations: Sequence[Mutation]) -> CodeType:
    tree = ast.parse(source)
    for mutation in mutations:
        _change(tree, mutation)
    code: CodeType = compile(ast.fix_missing_locations(tree), path, "exec")
    return code


def _change(tree: ast.Module, mutation: Mutation) -> None:
    scope: Any = tree
    for name in filter(None, mutation.function.split(".")):
        scope = _definition(scope, name, mutation)
    old, new = _parsed(mutation.old), _parsed(mutation.new)
    places = list(_places(scope, old))
    if len(places) != 1:
        where = f"{mutation.module}, {mutation.function}"
        raise LookupError(f"{where}: {len(places)} times, not once: {mutation.old}")
    body, start, count = places[0]
    body[start : start + count] = new


def _definition(scope: Any, name: str, mutation: Mutation) -> Tree:
    for node in scope.body:
        if getattr(node, "name", None) == name:
            found: Tree = node
            return found
    raise LookupError(f"{mutation.module} has no {mutation.function}")


def _parsed(code: str) -> list[Tree]:
    """Return the expression, or the statements."""
    try:
        # The parentheses let it have several lines.
        return [ast.parse(f"({code})", mode="eval").body]
    except SyntaxError:
        return list(ast.parse(code).body)


def _places(scope: Tree, old: list[Tree]) -> Any:
    """Yield each list that holds the old nodes, with where they begin and how many there are."""
    wanted = [ast.dump(node) for node in old]
    for parent in ast.walk(scope):
        for field, value in ast.iter_fields(parent):
            if isinstance(value, list):
                for start in range(len(value) - len(wanted) + 1):
                    part = value[start : start + len(wanted)]
                    if [_dumped(node) for node in part] == wanted:
                        yield value, start, len(wanted)
            elif isinstance(value, ast.AST) and [_dumped(value)] == wanted:
                yield _Field(parent, field), 0, 1


def _dumped(node: Any) -> str:
    return ast.dump(node) if isinstance(node, ast.AST) else ""


class _Field:
    """A field with one node, to be assigned like a list of one."""

    def __init__(self, parent: Tree, field: str) -> None:
        self._parent, self._field = parent, field

    def __setitem__(self, _place: slice, new: list[Tree]) -> None:
        (node,) = new
        setattr(self._parent, self._field, node)
