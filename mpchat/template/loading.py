"""Turns config files and a component list into a validated Service.

Rules. Loading reads files; it opens no socket and starts nothing. All mistakes of all files are reported
together. Static config files are read through Sources, so that a template that replaces a dead one sees
the same texts, even if the files have changed.
"""

from __future__ import annotations

import difflib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mpchat.components.auth import AuthCheckerBase
from mpchat.components.connections import Connections
from mpchat.components.handler_base import HandlerBase, methods_of
from mpchat.components.list import ComponentList
from mpchat.config.files import ConfigFiles
from mpchat.config.secdist import PROVIDER, SECDIST, SecdistOptions, SecdistProviderOptions
from mpchat.config.settings import Setting, at_terminal, settings_of
from mpchat.config.static import VARIABLES_OPTION, StaticConfig, load_static
from mpchat.config.types import OptionsModel
from mpchat.config.userver import UserverNames, load_userver_names
from mpchat.config.validation import validate
from mpchat.config.variables import Variables, substitute
from mpchat.config.yaml_file import Document, problem, read_yaml
from mpchat.congestion.options import CongestionControlOptions
from mpchat.dynamic_config import fallback
from mpchat.dynamic_config.options import DynamicConfigFallbacksOptions, DynamicConfigOptions
from mpchat.dynamic_config.variables import BUILT_IN_KEYS
from mpchat.errors import ConfigError, Problem
from mpchat.linux.cpus import cpu_limit, cpus
from mpchat.loglines.readable import is_terminal
from mpchat.logs.options import LoggerOptions, LoggingOptions
from mpchat.scoreboard.scoreboard import HANDLERS
from mpchat.server.options import ServerOptions
from mpchat.server.overload import CongestionPlan
from mpchat.template import hooks
from mpchat.template.certificates import certificates_of
from mpchat.template.console import CONSOLE_SECTIONS, ConsoleSections, with_path
from mpchat.template.dynamic import load_dynamic
from mpchat.template.secdist import passphrase_names, provider_of
from mpchat.websocket.handler import WebsocketHandlerBase
from mpchat.worker.service import ComponentPlan, Service

_CONGESTION_CONTROL = "congestion-control"
_OPTIONAL = {_CONGESTION_CONTROL, SECDIST, PROVIDER}
"""Sections that do something by being there; all others have defaults."""

SECTIONS: dict[str, type[OptionsModel]] = {
    "server": ServerOptions,
    "logging": LoggingOptions,
    "dynamic-config": DynamicConfigOptions,
    "dynamic-config-fallbacks": DynamicConfigFallbacksOptions,
    _CONGESTION_CONTROL: CongestionControlOptions,
    SECDIST: SecdistOptions,
    PROVIDER: SecdistProviderOptions,
}
"""Sections that configure every process; they are not components."""

_OURS = {
    "handler-ping": "append mpchat.Ping to it",
    "tests-control": "begin it with mpchat.minimal_server_component_list()",
}
"""userver's components that mpchat has, and how to add them to a component list."""

_CONNECTIONS = ComponentPlan(Connections.name, Connections, Connections.Options())
"""Every service has it"""

_DYNAMIC_SECTIONS = ("dynamic-config", "dynamic-config-fallbacks")

_BLOCKING_POOL = "fs-task-processor"


class Sources:
    """The texts of the static config files, by path."""

    def __init__(self, texts: Mapping[str, str] | None = None) -> None:
        self._given = texts
        self.texts: dict[str, str] = dict(texts or {})

    def read(self, path: str) -> str:
        """Return the text of a file, as first read.

        Raises:
            ConfigError: The file cannot be read.
        """
        if path not in self.texts:
            self.texts[path] = fallback.read_file(path)
        return self.texts[path]

    def to_bytes(self) -> bytes:
        """Return the texts in the form for the next template."""
        return json.dumps(self.texts).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> Sources:
        """Return the sources of ``to_bytes``."""
        return cls(json.loads(content))


def load_service(files: ConfigFiles, components: ComponentList, sources: Sources) -> Service:
    """Validate the static config against the components.

    Raises:
        ConfigError: All mistakes of the file.
    """
    names = load_userver_names()
    static = load_static(_read_static(files, sources), names)
    return _Loader(static, names, components).service()


def load_server(files: ConfigFiles, sources: Sources) -> ServerOptions:
    """Validate only the frame and the section server, to find out where a service listens.

    Raises:
        ConfigError: All mistakes of these two.
    """
    names = load_userver_names()
    static = load_static(_read_static(files, sources), names)
    return _Loader(static, names, ComponentList()).server()


def load_paths(files: ConfigFiles) -> tuple[set[str], set[str]]:
    """Return the paths of all files of the static config, and of those that a reload reads again.

    Raises:
        ConfigError: All mistakes that keep the files from being known.
    """
    sources, names = Sources(), load_userver_names()
    static = load_static(_read_static(files, sources), names)
    loader = _Loader(static, names, ComponentList())
    return set(sources.texts), {*loader.dynamic_files(), *loader.certificate_files()}


def _read_static(files: ConfigFiles, sources: Sources) -> Document:
    document = read_yaml(sources.read(files.config), files.config)
    paths = [files.config_vars, files.config_vars_override]
    if files.config_vars is None and isinstance(document.value, dict):
        named = document.value.get(VARIABLES_OPTION)
        if isinstance(named, str):
            paths[0] = os.path.join(os.path.dirname(files.config), named)
    documents = [read_yaml(sources.read(path), path) for path in paths if path is not None]
    problems = [
        problem(found, (), "expected a mapping of variables")
        for found in documents
        if found.value is not None and not isinstance(found.value, dict)
    ]
    if problems:
        raise ConfigError(problems)
    return substitute(document, Variables(tuple(documents), os.environ, sources.read))


@dataclass(frozen=True)
class Checked:
    """What an operator should know of a service without mistakes."""

    warnings: list[str]
    certificates: list[dict[str, Any]]
    """As a status has them"""


def check(files: ConfigFiles, components: ComponentList) -> Checked:
    """Validate static and dynamic config and the certificates.

    Raises:
        ConfigError: All mistakes of all files.
    """
    service = load_service(files, components, Sources())
    problems: list[Problem] = []
    warnings = list(service.warnings)
    certificates: list[dict[str, Any]] = []
    try:
        warnings += load_dynamic(service).warnings
    except ConfigError as error:
        problems += error.problems
    try:
        now = time.time()
        loaded = certificates_of(service).load(now)
        warnings += loaded.warnings
        certificates = [
            {**one, "seconds_left": one["not_after"] - int(now)} for one in loaded.shown
        ]
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    return Checked(warnings, certificates)


class _Loader:
    def __init__(
        self, static: StaticConfig, names: UserverNames, components: ComponentList
    ) -> None:
        self.static = static
        self.names = names
        self.components = components
        # Absolute paths: the supervisor uses some of them, and may be in the folder of an earlier
        # release.
        self.folder = os.path.abspath(os.path.dirname(static.document.file))
        self.problems: list[Problem] = list(static.problems)
        self.ignored: list[str] = list(static.ignored)
        self.absent: list[str] = []
        self.unlisted: list[str] = []
        self.sections: dict[str, OptionsModel] = {}
        """What was validated, by section"""

    def service(self) -> Service:
        if not self.static.task_processors and not self.static.sections and self.problems:
            # Without the frame, everything inside it would be reported as missing.
            raise self._error()
        frame = {
            name: self._section(name, model)
            for name, model in SECTIONS.items()
            if name not in _OPTIONAL or name in self.static.sections
        }
        plans = self._component_plans()
        keys = (*BUILT_IN_KEYS, *(key for plan in plans for key in plan.cls.dynamic_config_keys))
        layers, files = self._dynamic(*(frame[name] for name in _DYNAMIC_SECTIONS))
        server = frame["server"]
        of_console = ConsoleSections(
            self.static, self.names, self.components, self.folder, self._section, self._problem
        )
        console = of_console.plan(
            server, frame["dynamic-config"], [key.name for key in keys], layers, files
        )
        self._unknown_sections()
        pool = self._pool(server)
        self._check_task_processors(plans, frame["logging"], pool)
        self._check_logger(server, frame["logging"])
        secdist = provider_of(frame.get(SECDIST), frame.get(PROVIDER))
        if server is not None and secdist is None:
            for path in passphrase_names(server):
                text = f"needs the section {PROVIDER}, which says where passphrases are"
                self._problem(self._path("server", *path), text)
        self._check_paths(plans)
        self._check_auth(plans)
        classes = {plan.cls: None for plan in plans}
        self.problems += hooks.find_taken_names(classes)
        self.problems += hooks.find_mistakes_in_metrics(classes)
        if not self.problems and not any(issubclass(plan.cls, HandlerBase) for plan in plans):
            text = "no handler to serve: no handler in the component list has a section"
            self._problem(("components_manager", "components"), text)
        if self.problems or server is None:
            raise self._error()
        congestion, reason = self._congestion(frame.get(_CONGESTION_CONTROL), pool)
        found = [*of_console.warnings, *([reason] if reason else [])]
        warnings = [f"{self.static.document.file}: {text}" for text in found]
        if self.ignored:
            names = ", ".join(sorted(set(self.ignored)))
            warnings.append(
                f"{self.static.document.file}: known to userver, without effect: {names}"
            )
        for name in self.unlisted:
            line, column = self.static.document.places[self._path(name)]
            warnings.append(
                f"{self.static.document.file}:{line}:{column}: {name} is left out: it is not in the "
                f"component list; {_OURS[name]}"
            )
        for plan in plans:
            warnings += hooks.find_misspellings(plan.cls)
        if self.absent:
            names = ", ".join(self.absent)
            warnings.append(
                f"{self.static.document.file}: in the component list, but left out without a section: "
                f"{names}"
            )
        return Service(
            pool=pool,
            workers=self.static.task_processors[pool],
            threads=self.static.task_processors.get(_BLOCKING_POOL, 1),
            server=self._with_socket_paths(server),
            logging=self._with_logs(frame["logging"]),
            settings=tuple(self._settings()),
            components=(*plans, _CONNECTIONS),
            keys=keys,
            dynamic_layers=layers,
            dynamic_files=files,
            drain_defaults=self._drain_defaults(),
            drain_origin="graceful_shutdown_… in components_manager",
            known_variables=self.names.variables,
            warnings=tuple(warnings),
            console=console,
            console_missing=of_console.missing,
            secdist=secdist,
            congestion=congestion,
        )

    def server(self) -> ServerOptions:
        server: ServerOptions | None = self._section("server", ServerOptions)
        if self.problems or server is None:
            raise self._error()
        return self._with_socket_paths(server)

    def dynamic_files(self) -> tuple[str, ...]:
        frame = [self._section(name, SECTIONS[name]) for name in _DYNAMIC_SECTIONS]
        if self.problems:
            raise self._error()
        return self._dynamic(*frame)[1]

    def certificate_files(self) -> Iterator[str]:
        """Yield the files of certificates and their keys."""
        if "server" not in self.static.sections:
            return
        server = self.server()
        for listener in (server.listener.in_place(), server.listener_monitor):
            if listener is not None and listener.tls is not None:
                for pair in listener.tls.pairs():
                    yield from (pair.cert, pair.private_key)

    def _error(self) -> ConfigError:
        """Return all mistakes; a value that could not be read has only that one."""
        unread = self.static.document.problems
        places = {(mistake.line, mistake.column) for mistake in unread}
        others = [found for found in self.problems if (found.line, found.column) not in places]
        return ConfigError([*unread, *others])

    def _beside(self, path: str) -> str:
        """Return a path relative to the file that names it."""
        return os.path.join(self.folder, path)

    def _with_socket_paths(self, server: ServerOptions) -> ServerOptions:
        listener = with_path(server.listener.in_place(), self.folder)
        server = server.model_copy(update={"listener": listener})
        if server.control_socket is not None:
            control = self._beside(server.control_socket)
            server = server.model_copy(update={"control_socket": control})
        return server

    def _with_logs(self, logging: LoggingOptions) -> LoggingOptions:
        loggers = {name: self._with_log(options) for name, options in logging.loggers.items()}
        return logging.model_copy(update={"loggers": loggers})

    def _with_log(self, logger: LoggerOptions) -> LoggerOptions:
        changes = {}
        if not logger.file_path.startswith("@"):
            changes["file_path"] = self._beside(logger.file_path)
        if "format" not in logger.model_fields_set and is_terminal(logger.file_path):
            changes["format"] = "text"
        return logger.model_copy(update=changes)

    def _path(self, name: str, *more: str | int) -> tuple[str | int, ...]:
        return ("components_manager", "components", name, *more)

    def _problem(self, path: tuple[str | int, ...], text: str) -> None:
        self.problems.append(problem(self.static.document, path, text))

    def _section(
        self, name: str, model: type[OptionsModel], known: frozenset[str] = frozenset()
    ) -> Any:
        """Return the validated section; ``known`` are more of userver's options than its own."""
        known |= self.names.components.get(name, frozenset())
        options = validate(
            model, self.static.document, self._path(name), self.problems, known, self.ignored
        )
        if options is not None:
            self.sections[name] = options
        return options

    def _settings(self) -> Iterator[Setting]:
        yield from self.static.settings
        for name, options in self.sections.items():
            shown = self._with_logs(options) if isinstance(options, LoggingOptions) else options
            for setting in settings_of(shown, self.static.document, self._path(name)):
                if (name, setting.path[-1], setting.value) == ("logging", "format", "text"):
                    yield at_terminal(setting)
                else:
                    yield setting

    def _component_plans(self) -> tuple[ComponentPlan, ...]:
        plans: list[ComponentPlan] = []
        for name, cls in self.components.items(self.static.sections):
            if name not in self.static.sections:
                if not cls.section_optional:
                    self.absent.append(name)
                continue
            known = self.names.handler if issubclass(cls, HandlerBase) else frozenset[str]()
            options = self._section(name, cls.Options, known)
            if options is not None and not options.load_enabled:
                continue
            self.problems += hooks.find_mistakes(cls)
            if options is not None:
                first = next((plan.name for plan in plans if plan.cls.needs_broker), None)
                if cls.needs_broker and first is not None:
                    text = f"a service has one component of rooms, and {first} is it already"
                    self._problem(self._path(name), text)
                plans.append(ComponentPlan(name, cls, options))
        return tuple(plans)

    @staticmethod
    def _congestion(
        options: CongestionControlOptions | None, pool: str
    ) -> tuple[CongestionPlan | None, str]:
        """Return how workers deal with overload, or None, and why they do so only in fake-mode."""
        if options is None or not options.load_enabled:
            return None, ""
        limit = cpu_limit(os.environ)
        reason = ""
        if options.only_rtc and limit is None:
            reason = "nothing limits the CPUs here, and only-rtc is true"
        elif cpus(limit) < options.min_cpu:
            reason = f"there are fewer CPUs than min-cpu: {cpus(limit):g}"
        plan = CongestionPlan(pool, options.status_code, options.fake_mode or bool(reason))
        if options.fake_mode or not reason:
            return plan, ""
        return plan, f"congestion-control is in fake-mode, it refuses nobody: {reason}"

    def _unknown_sections(self) -> None:
        ours = {*SECTIONS, *CONSOLE_SECTIONS, *self.components.names()}
        for name in self.static.sections:
            if name in ours:
                continue
            if name in _OURS:
                self.unlisted.append(name)
            elif name in self.names.components:
                self.ignored.append(name)
            else:
                self._problem(self._path(name), f"unknown component{self._like(name, ours)}")

    def _like(self, name: str, known: Iterable[str]) -> str:
        close = difflib.get_close_matches(name, known, n=1)
        if close:
            return f"; did you mean '{close[0]}'?"
        listed = ", ".join(self.components.names())
        return f"; the component list has {listed or 'nothing'}"

    def _pool(self, server: ServerOptions | None) -> str:
        named = server.listener.task_processor if server is not None else None
        if named is None:
            return self.static.default_task_processor
        if named not in self.static.task_processors:
            self._unknown_processor(self._path("server", "listener", "task_processor"), named)
        return named

    def _check_task_processors(
        self, plans: tuple[ComponentPlan, ...], logging: LoggingOptions | None, pool: str
    ) -> None:
        for plan in plans:
            if not issubclass(plan.cls, HandlerBase) or plan.options.task_processor in {None, pool}:
                continue
            path = self._path(plan.name, "task_processor")
            self._problem(
                path, f"expected the listener's {pool}, got {plan.options.task_processor}"
            )
        named = logging.fs_task_processor if logging is not None else None
        if named is not None and named not in self.static.task_processors:
            self._unknown_processor(self._path("logging", "fs-task-processor"), named)

    def _unknown_processor(self, path: tuple[str | int, ...], name: str) -> None:
        known = ", ".join(sorted(self.static.task_processors))
        self._problem(path, f"expected one of {known}, got {name}")

    def _check_logger(self, server: ServerOptions | None, logging: LoggingOptions | None) -> None:
        named = server.logger_access if server is not None else None
        if named and logging is not None and named not in logging.loggers:
            known = ", ".join(sorted(logging.loggers))
            path = self._path("server", "logger_access")
            self._problem(path, f"expected one of {known}, got {named}")

    def _check_paths(self, plans: tuple[ComponentPlan, ...]) -> None:
        seen: dict[tuple[str, str, bool], str] = {}
        handlers = [plan for plan in plans if issubclass(plan.cls, HandlerBase)]
        for plan in handlers[HANDLERS:]:
            self._problem(self._path(plan.name), f"a service has at most {HANDLERS} handlers")
        for plan in handlers:
            path = plan.options.path
            # Who asks for an upgrade is told apart from who does not.
            upgrades = issubclass(plan.cls, WebsocketHandlerBase)
            for method in methods_of(plan.options.method):
                first = seen.setdefault((path, method, upgrades), plan.name)
                if first != plan.name:
                    text = f"{first} already has {path} for {method}"
                    self._problem(self._path(plan.name, "path"), text)

    def _check_auth(self, plans: tuple[ComponentPlan, ...]) -> None:
        """Check that every checker that a handler names is there."""
        checkers = [plan.name for plan in plans if issubclass(plan.cls, AuthCheckerBase)]
        for plan in plans:
            if not issubclass(plan.cls, HandlerBase) or plan.options.auth is None:
                continue
            for number, name in enumerate(plan.options.auth.types):
                if name not in checkers:
                    path = self._path(plan.name, "auth", "types", number)
                    known = ", ".join(checkers) or "none"
                    text = f"expected a checker that is in the component list and has a section ({known})"
                    self._problem(path, f"{text}, got '{name}'")

    def _dynamic(
        self, options: DynamicConfigOptions, fallbacks: DynamicConfigFallbacksOptions
    ) -> tuple[tuple[Document, ...], tuple[str, ...]]:
        layers: tuple[Document, ...] = ()
        files: list[str | None] = []
        if options.load_enabled:
            if options.defaults:
                layers = (self._defaults_document(options.defaults),)
            files.append(options.defaults_path)
        if fallbacks.load_enabled:
            files.append(fallbacks.fallback_path)
        return layers, tuple(self._beside(path) for path in files if path)

    def _drain_defaults(self) -> dict[str, int]:
        seconds = {"lameduck_ms": self.static.lameduck, "deadline_ms": self.static.deadline}
        return {name: round(value * 1000) for name, value in seconds.items() if value is not None}

    def _defaults_document(self, values: dict[str, Any]) -> Document:
        prefix = self._path("dynamic-config", "defaults")
        places = self.static.document.places
        inside = {
            path[len(prefix) :]: place
            for path, place in places.items()
            if path[: len(prefix)] == prefix
        }
        return Document(self.static.document.file, dict(values), inside)
