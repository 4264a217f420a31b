"""The names that userver knows: its files load unchanged, with a warning that names those we lack."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files


@dataclass(frozen=True)
class UserverNames:
    """The names of userver's options, components and dynamic variables.

    Options are dotted paths below their section; ``*`` matches any name.
    """

    manager: frozenset[str]
    task_processor: frozenset[str]
    handler: frozenset[str]
    components: dict[str, frozenset[str]]
    variables: frozenset[str]


def load_userver_names() -> UserverNames:
    """Read the data file of the package."""
    raw = json.loads(files("mpchat.config").joinpath("userver_names.json").read_text("utf-8"))
    return UserverNames(
        manager=frozenset(raw["components_manager"]),
        task_processor=frozenset(raw["task_processor"]),
        handler=frozenset(raw["handler"]),
        components={name: frozenset(options) for name, options in raw["components"].items()},
        variables=frozenset(raw["variables"]),
    )
