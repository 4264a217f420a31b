"""What a running service says of the form of its hot path, which compiled.py and its unit test decide."""

from __future__ import annotations

import pytest

from mpchat import FORM
from mpchat.testsuite.logs import parse_tskv
from mpchat.testsuite.service import Service
from tests.kit.control import Control
from tests.kit.verbs import Mpchat


@pytest.fixture(params=["", "0"], ids=["as-the-tests", "interpreted"])
def service_env(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"MPCHAT_COMPILED": request.param} if request.param else {}


def test_log_and_status_tell_the_form(
    supervisor: Service, service_env: dict[str, str], control: Control, mpchat: Mpchat
) -> None:
    form = "interpreted: MPCHAT_COMPILED=0" if service_env else str(FORM)
    level = "INFO" if service_env or FORM.compiled or FORM.wanted else "WARNING"
    said = [parse_tskv(line) for line in supervisor.stderr().splitlines() if "hot path" in line]
    assert [(line["text"], line["level"]) for line in said] == [(f"the hot path is {form}", level)]
    compiled = form == "compiled"
    workers = control.workers()
    assert [worker["compiled"] for worker in workers] == [compiled] * len(workers)
    shown = mpchat("status", "--socket", str(control.path)).stdout.splitlines()[0]
    assert shown.endswith(", compiled" if compiled else ", interpreted")
