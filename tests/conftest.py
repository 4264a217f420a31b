"""The plugin is registered for all tests: pytest takes ``pytest_plugins`` from the root only."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

pytest_plugins = ["mpchat.testsuite", "pytester"]

# How long an example takes says something about the machine.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
