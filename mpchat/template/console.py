"""The sections that the console process works for: its handlers, and the client of a config service.

Rules. They are userver's, so a service may have them where the console's libraries are not installed: it
starts without what they are for, and says so. Only an option that userver does not have is a mistake
then.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from mpchat.components.list import ComponentList
from mpchat.config.static import StaticConfig
from mpchat.config.types import OptionsModel
from mpchat.config.userver import UserverNames
from mpchat.config.yaml_file import Document
from mpchat.config_service.options import ClientOptions, ConfigServicePlan, UpdaterOptions
from mpchat.console.options import (
    INSTALL,
    SECTIONS,
    ConsoleHandlerOptions,
    ConsolePlan,
    missing_libraries,
    own_options,
)
from mpchat.dynamic_config.fallback import read_file
from mpchat.dynamic_config.json_file import read_json
from mpchat.dynamic_config.options import DynamicConfigOptions
from mpchat.errors import ConfigError
from mpchat.server.options import ListenerOptions, MonitorListenerOptions, ServerOptions

CLIENT, UPDATER = "dynamic-config-client", "dynamic-config-client-updater"
CONSOLE_SECTIONS: dict[str, type[OptionsModel]] = {
    **SECTIONS,
    CLIENT: ClientOptions,
    UPDATER: UpdaterOptions,
}
"""Sections of what the console process does; they are not components"""

Listener = TypeVar("Listener", ListenerOptions, MonitorListenerOptions)


class ConsoleSections:
    """Makes the console's plan of its sections.

    ``section`` validates one, with more names of userver's that have no effect; ``problem`` notes a
    mistake.

    Attributes:
        missing: Why sections are left out, or empty.
        warnings: What the operator should know of these sections.
    """

    def __init__(
        self,
        static: StaticConfig,
        names: UserverNames,
        components: ComponentList,
        folder: str,
        section: Callable[[str, type[OptionsModel], frozenset[str]], Any],
        problem: Callable[[tuple[str | int, ...], str], None],
    ) -> None:
        self.missing = ""
        self.warnings: list[str] = []
        self._static = static
        self._names = names
        self._components = components
        self._folder = folder
        self._section = section
        self._problem = problem

    def plan(
        self,
        server: ServerOptions | None,
        dynamic: DynamicConfigOptions | None,
        variables: Iterable[str],
        layers: Sequence[Document],
        files: Sequence[str],
    ) -> ConsolePlan | None:
        """Return the console's plan, None if the service has no console.

        ``variables`` are those that are declared, ``layers`` and ``files`` have the values below those of
        the config service.
        """
        handlers = self._handlers()
        listener = self._listener(server, handlers)
        config_service = self._config_service(dynamic, variables, layers, files)
        if listener is None and config_service is None:
            return None
        return ConsolePlan(listener, handlers if listener is not None else {}, config_service)

    def _handlers(self) -> dict[str, ConsoleHandlerOptions]:
        """Return the options of the handlers that are on, by section."""
        found = {}
        places: dict[str, str] = {}
        for name, model in SECTIONS.items():
            if name not in self._static.sections or name in self._components.names():
                continue
            options = self._section(name, model, self._names.handler)
            if options is None or not options.load_enabled:
                continue
            first = places.setdefault(options.path.rstrip("/"), name)
            if first != name:
                self._problem(_path(name, "path"), f"{first} already has {options.path}")
            found[name] = options
        return found

    def _listener(
        self, server: ServerOptions | None, handlers: dict[str, ConsoleHandlerOptions]
    ) -> MonitorListenerOptions | None:
        """Return where the console listens, if it does; ``missing`` says what it lacks for that."""
        listener = server.listener_monitor if server is not None else None
        if listener is None:
            for name in handlers if server is not None else ():
                text = "expected server.listener-monitor, where this handler is served"
                self._problem(_path(name), text)
            return None
        named = {
            _path("server", "listener-monitor", "task_processor"): listener.task_processor,
            **{_path(name, "task_processor"): o.task_processor for name, o in handlers.items()},
        }
        for path, processor in named.items():
            if processor is not None and processor not in self._static.task_processors:
                known = ", ".join(sorted(self._static.task_processors))
                self._problem(path, f"expected one of {known}, got {processor}")
        libraries = missing_libraries()
        if not libraries:
            return with_path(listener.in_place(), self._folder)
        lacks = f"without {' and '.join(libraries)}: {INSTALL}"
        own = own_options(listener, handlers)
        for name in own:
            self._problem(_path(*name.split(".")), f"there is no console {lacks}")
        if not own:
            self.missing = f"server.listener-monitor is left out, since there is no console {lacks}"
            self.warnings.append(self.missing)
        return None

    def _config_service(
        self,
        dynamic: DynamicConfigOptions | None,
        variables: Iterable[str],
        layers: Sequence[Document],
        files: Sequence[str],
    ) -> ConfigServicePlan | None:
        """Return the config service that is followed, if any."""
        sections = {
            name: self._section(name, CONSOLE_SECTIONS[name], frozenset())
            for name in (CLIENT, UPDATER)
            if name in self._static.sections
        }
        on = {name: it for name, it in sections.items() if it is not None and it.load_enabled}
        updater, client = on.get(UPDATER), on.get(CLIENT)
        if updater is None:
            if client is not None and UPDATER not in sections:
                text = f"{CLIENT} has no effect without {UPDATER}: the config service is not asked"
                self.warnings.append(text)
            return None
        if client is None:
            if CLIENT not in sections or sections[CLIENT] is not None:
                self._problem(
                    _path(UPDATER), f"expected a section {CLIENT}, which says whom to ask"
                )
            return None
        if dynamic is not None and not dynamic.updates_enabled:
            self._problem(
                _path("dynamic-config", "updates-enabled"),
                f"expected true, since there is a {UPDATER}",
            )
        if not updater.updates_enabled:
            return None
        if libraries := missing_libraries():
            lacks = f"without {' and '.join(libraries)}: {INSTALL}"
            own = [name for name in ("token", "max_answer_size") if name in client.model_fields_set]
            for name in own:
                option = name.replace("_", "-")
                self._problem(_path(CLIENT, option), f"no config service is asked {lacks}")
            text = f"{UPDATER} is left out: no config service is asked {lacks}"
            self.missing = "; ".join(filter(None, (self.missing, text)))
            self.warnings.append(text)
            return None
        try:
            stage = client.stage(lambda path: read_file(os.path.join(self._folder, path)))
        except ConfigError as error:
            self._problem(_path(CLIENT, "configs-stage-filepath"), str(error))
            return None
        defaults = {name for layer in (*layers, *_readable(files)) for name in layer.value}
        cache = dynamic.fs_cache_path if dynamic is not None else None
        return ConfigServicePlan(
            client=client,
            updater=updater,
            ids=tuple(dict.fromkeys((*variables, *sorted(defaults)))),
            stage=stage,
            cache_path=os.path.join(self._folder, cache) if cache else None,
        )


def _readable(files: Iterable[str]) -> Iterator[Document]:
    """Yield the files of variables that can be read now; those that cannot end the start elsewhere."""
    for path in files:
        with contextlib.suppress(ConfigError):
            yield read_json(read_file(path), path)


def with_path(listener: Listener, folder: str) -> Listener:
    """Return a listener whose Unix socket's path does not depend on the folder that a process is in."""
    if listener.unix_socket is None:
        return listener
    path = os.path.join(folder, listener.unix_socket)
    return listener.model_copy(update={"unix_socket": path})


def _path(name: str, *more: str | int) -> tuple[str | int, ...]:
    return ("components_manager", "components", name, *more)
