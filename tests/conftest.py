"""The plugin is registered for all tests: pytest takes ``pytest_plugins`` from the root only."""

from __future__ import annotations

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

from mpchat import FORM
from tests.kit.certificates import Certificates

pytest_plugins = ["mpchat.testsuite", "pytester"]

# How long an example takes says something about the machine.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    # CI tries the same examples each time: what a new one finds is for those who run the tests, and fuzz.
    derandomize="CI" in os.environ,
)
settings.load_profile("untimed")

# Each service and each worker of pytest would compile all modules anew: a third of a start.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Those that tests of TLS have in common."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is about compiled code where the hot path is interpreted; CI runs both forms."""
    if not FORM.compiled:
        left_out = [item for item in items if item.get_closest_marker("compiled")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
