"""Both lives of a service: each signal that is handled has something to do in both."""

from __future__ import annotations

import signal
from typing import Any
from unittest.mock import MagicMock

import pytest

from mpchat.ipc import messages
from mpchat.ipc.channel import MalformedMessage
from mpchat.supervisor.boot import Boot
from mpchat.supervisor.service import Service
from mpchat.supervisor.signals import HANDLED
from mpchat.supervisor.timing import Timing


def boot() -> Boot:
    anything: Any = MagicMock()
    return Boot([], Timing(), anything, anything, anything, anything, 0.0)


@pytest.mark.parametrize("number", HANDLED)
def test_no_signal_is_without_an_act(number: signal.Signals) -> None:
    boot().on_signal(number, 0.0)
    service: Any = MagicMock(_stopping=False)
    Service.on_signal(service, number, 0.0)


def test_a_signal_that_nobody_handles_does_not_stop_the_service() -> None:
    service: Any = MagicMock(_stopping=False)
    with pytest.raises(ValueError, match="SIGWINCH"):
        Service.on_signal(service, signal.SIGWINCH, 0.0)
    service._stop.assert_not_called()
    booting = boot()
    with pytest.raises(ValueError, match="SIGWINCH"):
        booting.on_signal(signal.SIGWINCH, 0.0)
    assert booting.exit_code is None


def test_signals_that_need_a_plan_wait_for_it_in_order() -> None:
    booting = boot()
    for number in (signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR2):
        booting.on_signal(number, 0.0)
    assert booting.early == [signal.SIGHUP, signal.SIGTTIN, signal.SIGUSR2]
    assert booting.exit_code is None


def test_before_its_plan_a_template_says_nothing_else() -> None:
    child: Any = MagicMock()
    with pytest.raises(MalformedMessage, match="Pong comes before the plan"):
        boot().on_message(child, messages.Pong(), [], 0.0)
