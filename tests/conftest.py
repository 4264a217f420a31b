"""The plugin is registered for all tests: pytest takes ``pytest_plugins`` from the root only."""

from __future__ import annotations

import os
import sys

from hypothesis import HealthCheck, settings

pytest_plugins = ["mpchat.testsuite", "pytester"]

# How long an example takes says something about the machine.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

# Each service and each worker of pytest would compile all modules anew: a third of a start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
