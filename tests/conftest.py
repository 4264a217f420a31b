"""The plugin is registered for all tests: pytest takes ``pytest_plugins`` from the root only."""

from __future__ import annotations

pytest_plugins = ["mpchat.testsuite", "pytester"]
