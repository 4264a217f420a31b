"""The suite without compression, 301 cases in a few seconds. All of them: `make conformance`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.suite import ALL, COMPRESSION, describe, run_kosoku

SECONDS = 180.0
"""On a busy machine; about four otherwise."""
COMPRESSION_CASES = 216


@pytest.fixture
def service_config_path() -> Path:
    return Path(__file__).parent / "static_config.yaml"


def test_autobahn_without_compression(service_port: int, tmp_path: Path) -> None:
    url = f"ws://localhost:{service_port}/chat"
    outcomes = run_kosoku(url, tmp_path / "reports", COMPRESSION, 4, SECONDS)
    assert len(outcomes) == ALL - COMPRESSION_CASES
    assert describe([outcome for outcome in outcomes if not outcome.is_fine]) == ""
    # What came before a mistake is answered, and text is refused at its first wrong byte.
    assert describe([outcome for outcome in outcomes if outcome.behavior == "NON-STRICT"]) == ""
