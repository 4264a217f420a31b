"""The frame of a static config file: task processors and the sections of components.

Rules. Checks only what belongs to no component; the owner of a section's model validates the section.
Mistakes are collected, and the caller raises them together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from mpchat.config.settings import Setting, settings_of
from mpchat.config.types import Duration, OptionsModel
from mpchat.config.userver import UserverNames
from mpchat.config.validation import at, validate
from mpchat.config.yaml_file import Document, Path, origin_of, problem
from mpchat.errors import Problem
from mpchat.scoreboard.scoreboard import SLOTS

_MAX_SECONDS = 3600.0
"""The maximum of MPCHAT_DRAIN."""
_MANAGER: Path = ("components_manager",)
VARIABLES_OPTION = "config_vars"
"""The option next to components_manager that names a file of variables."""


class TaskProcessorOptions(OptionsModel):
    """A pool: of processes if the listener names it, else of threads in each worker."""

    worker_threads: Annotated[
        int,
        Field(ge=1, le=SLOTS, description="Processes in the listener's pool, threads in any other"),
    ]


class ManagerOptions(OptionsModel):
    """The mapping ``components_manager``."""

    task_processors: Annotated[dict[str, Any], Field(description="Pools by name")]
    default_task_processor: Annotated[
        str, Field(description="The task processor of sections that name none")
    ] = "main-task-processor"
    components: Annotated[
        dict[str, Any], Field(description="The sections of the components, by name")
    ]
    graceful_shutdown_continue_accepting_requests_interval: Annotated[
        Duration | None,
        Field(le=_MAX_SECONDS, description="The default of `MPCHAT_DRAIN.lameduck_ms`"),
    ] = None
    graceful_shutdown_pending_requests_completion_interval: Annotated[
        Duration | None,
        Field(le=_MAX_SECONDS, description="The default of `MPCHAT_DRAIN.deadline_ms`"),
    ] = None
    graceful_shutdown_interval: Annotated[
        Duration | None,
        Field(
            le=_MAX_SECONDS,
            description="The older name of graceful_shutdown_continue_accepting_requests_interval, which "
            "takes precedence",
        ),
    ] = None


@dataclass(frozen=True)
class StaticConfig:
    """The content of the file, as far as it could be understood."""

    document: Document
    task_processors: dict[str, int]
    default_task_processor: str
    sections: dict[str, Any]
    lameduck: float | None
    """Seconds for which a stop still accepts clients; None: not configured"""
    deadline: float | None
    """Seconds from then until open connections are cut off; None: not configured"""
    problems: tuple[Problem, ...]
    ignored: tuple[str, ...]
    settings: tuple[Setting, ...] = ()
    """The options of the frame"""


def load_static(document: Document, names: UserverNames) -> StaticConfig:
    """Check the frame; the result's ``problems`` has all mistakes."""
    problems: list[Problem] = list(document.problems)
    ignored: list[str] = []
    if not isinstance(document.value, dict):
        problems.append(problem(document, (), "expected a mapping with components_manager"))
        return StaticConfig(document, {}, "", {}, None, None, tuple(problems), ())
    for name in document.value:
        if name not in {"components_manager", VARIABLES_OPTION}:
            known = f"components_manager, {VARIABLES_OPTION}"
            problems.append(problem(document, (name,), f"unknown option; known are {known}"))
    if "components_manager" not in document.value:
        problems.append(problem(document, (), "components_manager is required, but missing"))
        return StaticConfig(document, {}, "", {}, None, None, tuple(problems), ())
    manager = validate(ManagerOptions, document, _MANAGER, problems, names.manager, ignored)
    raw = at(document.value, (*_MANAGER, "task_processors"))
    processors: dict[str, int] = {}
    for name in raw if isinstance(raw, dict) else ():
        path = (*_MANAGER, "task_processors", name)
        options = validate(
            TaskProcessorOptions, document, path, problems, names.task_processor, ignored
        )
        processors[name] = options.worker_threads if options is not None else 1
    default = manager.default_task_processor if manager is not None else ""
    if manager is not None and default not in processors:
        known = ", ".join(sorted(processors)) or "none"
        path = (*_MANAGER, "default_task_processor")
        problems.append(problem(document, path, f"expected one of {known}, got '{default}'"))
    raw_sections = at(document.value, (*_MANAGER, "components"))
    sections = raw_sections if isinstance(raw_sections, dict) else {}
    lameduck = deadline = None
    if manager is not None:
        lameduck = manager.graceful_shutdown_continue_accepting_requests_interval
        if lameduck is None:
            lameduck = manager.graceful_shutdown_interval
        deadline = manager.graceful_shutdown_pending_requests_completion_interval
    return StaticConfig(
        document,
        processors,
        default,
        sections,
        lameduck,
        deadline,
        tuple(problems),
        tuple(ignored),
        tuple(_settings(document, manager, processors)),
    )


def _settings(
    document: Document, manager: ManagerOptions | None, processors: dict[str, int]
) -> Iterator[Setting]:
    if VARIABLES_OPTION in document.value:
        path: Path = (VARIABLES_OPTION,)
        yield Setting(path, document.value[VARIABLES_OPTION], origin_of(document, path))
    for name, count in processors.items():
        path = (*_MANAGER, "task_processors", name, "worker_threads")
        yield Setting(path, count, origin_of(document, path))
    if manager is not None:
        # Of the pools some options are userver's, and of the components their models know more.
        without = manager.model_copy(update={"task_processors": {}, "components": {}})
        for setting in settings_of(without, document, _MANAGER):
            if setting.path[-1] not in {"task_processors", "components"}:
                yield setting
