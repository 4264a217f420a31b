"""A pytest plugin for services built with mpchat: ``pytest_plugins = ["mpchat.testsuite"]``.

It starts the real service from the real config on a free port and gives tests fixtures with the names
that userver's plugin has. Each fixture can be overridden by one of the same name. The report of a failing
test shows the service's log. The plugin runs the command and looks at it from outside; of the package it
knows config and errors only.

PYTEST_DONT_REWRITE (pytest's word): nothing is asserted here, and a test module may well import from this
package before pytest reads the module's ``pytest_plugins``.
"""

from __future__ import annotations

from mpchat.testsuite.fixtures import (
    capture_logs,
    config_fallback_path,
    dynamic_config,
    pytest_addoption,
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
    service_env,
    service_port,
    service_start_command,
    service_tmpdir,
    supervisor,
    websocket_client,
)
from mpchat.testsuite.reporting import pytest_runtest_makereport

__all__ = [
    "capture_logs",
    "config_fallback_path",
    "dynamic_config",
    "pytest_addoption",
    "pytest_runtest_makereport",
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
    "service_env",
    "service_port",
    "service_start_command",
    "service_tmpdir",
    "supervisor",
    "websocket_client",
]
