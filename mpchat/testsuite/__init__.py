"""A pytest plugin for services built with mpchat: ``pytest_plugins = ["mpchat.testsuite"]``.

It starts the real service from the real config on a free port and gives tests fixtures with the names
that userver's plugin has. Each fixture can be overridden by one of the same name. It runs the command
and looks at it from outside; of the package it knows config and errors only.
"""

from __future__ import annotations

from mpchat.testsuite.fixtures import (
    config_fallback_path,
    dynamic_config,
    original_service_config_path,
    pytest_addoption,
    service_baseurl,
    service_client,
    service_command,
    service_config,
    service_config_path,
    service_port,
    service_tmpdir,
    supervisor,
    websocket_client,
)

__all__ = [
    "config_fallback_path",
    "dynamic_config",
    "original_service_config_path",
    "pytest_addoption",
    "service_baseurl",
    "service_client",
    "service_command",
    "service_config",
    "service_config_path",
    "service_port",
    "service_tmpdir",
    "supervisor",
    "websocket_client",
]
