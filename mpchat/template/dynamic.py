"""Reads the layers of the dynamic config, and validates what they make together.

Rules. From low to high: defaults of the code, values and files of the static config, what the config
service has said, or, before its first answer, the file that keeps what it said to an earlier service. A
mistake in the files or in what is said refuses all of it; a cache that cannot be used is left out.
"""

from __future__ import annotations

from mpchat.config.yaml_file import Document
from mpchat.dynamic_config import fallback, json_file, layer
from mpchat.dynamic_config.fallback import Loaded
from mpchat.dynamic_config.variables import DRAIN
from mpchat.dynamic_config.variables import TASK_PROCESSOR_QOS as QOS
from mpchat.errors import ConfigError, Problem
from mpchat.worker.service import Service


def load_dynamic(service: Service, said: bytes | None = None) -> Loaded:
    """Read and validate the dynamic config as it is now, and have components check their files.

    ``said``: what the config service has said, as ``layer.to_bytes`` makes it; None before it has.

    Raises:
        ConfigError: All mistakes of all files, and of what is said.
    """
    layers = list(service.dynamic_layers)
    problems: list[Problem] = []
    for path in service.dynamic_files:
        try:
            layers.append(json_file.read_json(fallback.read_file(path), path))
        except ConfigError as error:
            problems += error.problems
    for plan in service.components:
        try:
            plan.cls.check_files(plan.options)
        except ConfigError as error:
            problems += error.problems
        except (OSError, ValueError) as error:
            problems.append(Problem(plan.name, 0, 0, "", str(error)))
    remote, warnings = _remote(service, said, problems)
    try:
        loaded = fallback.load(layers, service.keys, service.known_variables, remote)
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    loaded.warnings.extend(warnings)
    if QOS.name in loaded.values:
        pools = QOS.validate(loaded.values[QOS.name]).default_service
        names = [name for name, one in pools.items() if one.wait_queue_overload.action == "cancel"]
        if names:
            loaded.warnings.append(
                f"{loaded.origins[QOS.name]}: {QOS.name}: action 'cancel' of {', '.join(names)} has no "
                "effect: no request is cancelled while it waits, congestion-control refuses new ones"
            )
    if service.drain_defaults:
        loaded.values[DRAIN.name] = service.drain_defaults | loaded.values.get(DRAIN.name, {})
        known = loaded.origins.get(DRAIN.name)
        loaded.origins[DRAIN.name] = " and ".join(filter(None, (known, service.drain_origin)))
    return loaded


def has_values(service: Service) -> bool:
    """Whether the service has a dynamic config without its config service: files, values, or a cache."""
    if service.dynamic_layers or service.dynamic_files:
        return True
    return _remote(service, None, [])[0] is not None


def _remote(
    service: Service, said: bytes | None, problems: list[Problem]
) -> tuple[Document | None, list[str]]:
    """Return the layer of the config service, and warnings; mistakes in what it says are problems."""
    if service.config_service is None:
        return None, []
    if said is not None:
        try:
            return layer.read_said(said), []
        except ConfigError as error:
            problems += error.problems
            return None, []
    path = service.config_service.cache_path
    if path is None:
        return None, []
    try:
        cached = layer.read_cache(path)
        # Values that this version does not take come from another one.
        fallback.load((), service.keys, service.known_variables, cached)
    except ConfigError as error:
        first = str(error.problems[0])
        return None, [f"no cache of the config service is used: {first}"]
    return cached, []
