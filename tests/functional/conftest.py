"""What several modules of functional tests need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from mpchat.testsuite.reporting import report_log_of
from mpchat.testsuite.service import Service

Serve = Callable[..., Any]


@pytest.fixture
def serve(
    request: pytest.FixtureRequest,
    service_command: list[str],
    service_config: Any,
    service_tmpdir: Path,
) -> Callable[[dict[str, Any]], Any]:
    """Start the service with options changed: ``serve({"server.listener.port": 1})``.

    ``more`` goes behind its command line, ``wrapper`` before it.
    """

    @contextmanager
    def start(
        changes: dict[str, Any], *more: str, wrapper: Sequence[str] = ()
    ) -> Iterator[Service]:
        for dotted, value in changes.items():
            *parents, last = dotted.split(".")
            section = service_config["components_manager"]
            if dotted.partition(".")[0] not in section:
                section = section["components"]
            for parent in parents:
                section = section.setdefault(parent, {})
            section[last] = value
            if value is None:
                del section[last]
        path = service_tmpdir / "changed.yaml"
        path.write_text(yaml.safe_dump(service_config))
        service = Service([*wrapper, *service_command, "-c", str(path), *more], service_tmpdir)
        report_log_of(service, request.node)
        try:
            service.wait_ready()
            yield service
        finally:
            service.close()

    return start
