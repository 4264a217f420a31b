"""A pytest plugin for services built with mpchat: ``pytest_plugins = ["mpchat.testsuite"]``.

It starts the real service from the real config on a free port, and gives tests fixtures with the names of
userver's plugin. A fixture of the same name overrides one of these. The report of a failing test shows
the service's log. The plugin runs the command and observes it from outside; of the package it imports
only config and errors.

PYTEST_DONT_REWRITE (for pytest): this package has no asserts, and a test module may import from it before
pytest reads the module's ``pytest_plugins``.
"""

from __future__ import annotations

from mpchat.testsuite.dynamic_config import USE_STATIC_DEFAULT
from mpchat.testsuite.dynamic_fixtures import (
    config_check,
    config_fallback_path,
    config_service_defaults,
    dynamic_config,
    dynamic_config_fallback_patch,
    marked_config,
    mock_configs_service,
    pytest_configure,
    userver_config_dynconf_cache,
    userver_config_dynconf_url,
)
from mpchat.testsuite.fixtures import (
    capture_logs,
    pytest_addoption,
    rooms,
    service_baseurl,
    service_binary,
    service_client,
    service_command,
    service_config,
    service_config_path,
    service_config_path_temp,
    service_config_vars,
    service_config_vars_path,
    service_config_yaml,
    service_control_socket,
    service_env,
    service_port,
    service_ssl_context,
    service_start_command,
    service_tmpdir,
    supervisor,
    websocket_client,
)
from mpchat.testsuite.reporting import pytest_runtest_makereport

__all__ = [
    "USE_STATIC_DEFAULT",
    "capture_logs",
    "config_check",
    "config_fallback_path",
    "config_service_defaults",
    "dynamic_config",
    "dynamic_config_fallback_patch",
    "marked_config",
    "mock_configs_service",
    "pytest_addoption",
    "pytest_configure",
    "pytest_runtest_makereport",
    "rooms",
    "service_baseurl",
    "service_binary",
    "service_client",
    "service_command",
    "service_config",
    "service_config_path",
    "service_config_path_temp",
    "service_config_vars",
    "service_config_vars_path",
    "service_config_yaml",
    "service_control_socket",
    "service_env",
    "service_port",
    "service_ssl_context",
    "service_start_command",
    "service_tmpdir",
    "supervisor",
    "userver_config_dynconf_cache",
    "userver_config_dynconf_url",
    "websocket_client",
]
