"""The suite without compression, 301 cases in a few seconds. All of them: `make conformance`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.suite import ALL, COMPRESSION, describe, run_kosoku
from tests.kit.certificates import Certificates
from tests.kit.relay import relaying

SECONDS = 180.0
"""On a busy machine; about four otherwise."""
COMPRESSION_CASES = 216


@pytest.fixture
def service_config_path() -> Path:
    return Path(__file__).parent / "static_config.yaml"


@pytest.fixture(params=["plain", "tls"])
def through_tls(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "tls")


@pytest.fixture
def service_config_yaml(
    service_config_yaml: Any, through_tls: bool, certificates: Certificates
) -> Any:
    if through_tls:
        server = service_config_yaml["components_manager"]["components"]["server"]
        server["listener"]["tls"] = certificates.ec.options
    return service_config_yaml


@pytest.fixture
def port(service_port: int, through_tls: bool, certificates: Certificates) -> Iterator[int]:
    """Where the suite finds the service: it does not speak TLS itself."""
    if through_tls:
        with relaying(service_port, certificates.trusting()) as port:
            yield port
    else:
        yield service_port


def test_autobahn_without_compression(port: int, tmp_path: Path) -> None:
    url = f"ws://localhost:{port}/chat"
    outcomes = run_kosoku(url, tmp_path / "reports", COMPRESSION, 4, SECONDS)
    assert len(outcomes) == ALL - COMPRESSION_CASES
    assert describe([outcome for outcome in outcomes if not outcome.is_fine]) == ""
    # What came before a mistake is answered, and text is refused at its first wrong byte.
    assert describe([outcome for outcome in outcomes if outcome.behavior == "NON-STRICT"]) == ""
