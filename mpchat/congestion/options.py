"""The section ``congestion-control`` of the static config."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from mpchat.config.types import Count, OptionsModel

_CODES = frozenset(int(status) for status in HTTPStatus)


def _check_status(code: int) -> int:
    if code not in _CODES:
        raise PydanticCustomError("status", "expected a registered code, such as 429 or 503")
    return code


class CongestionControlOptions(OptionsModel):
    """Section ``congestion-control``: without it, a worker takes whatever comes.

    USERVER_RPS_CCONTROL_ENABLED turns it on.
    """

    fake_mode: Annotated[
        bool,
        Field(
            alias="fake-mode",
            description="True: limits are computed, logged and counted, and nobody is refused",
        ),
    ] = False
    min_cpu: Annotated[
        Count,
        Field(
            alias="min-cpu", description="With fewer CPUs than this, the service is in fake-mode"
        ),
    ] = 1
    only_rtc: Annotated[
        bool,
        Field(
            alias="only-rtc",
            description="True: the service is in fake-mode unless something limits its CPUs: the "
            "variables CPU_LIMIT (`4c`) or DEPLOY_VCPU_LIMIT (`4000`), or its control group's cpu.max",
        ),
    ] = True
    status_code: Annotated[
        int,
        Field(alias="status-code", ge=300, le=599, description="Status of the refusals"),
        AfterValidator(_check_status),
    ] = 429
    load_enabled: Annotated[
        bool, Field(alias="load-enabled", description="False: the section is ignored")
    ] = True
