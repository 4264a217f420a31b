"""Orders about loggers: kept for later processes, limited in number, told to all that may be told."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.ipc.channel import MalformedMessage
from mpchat.ipc.messages import DebugLog, LogLevel, Message
from mpchat.supervisor.child import Role
from mpchat.supervisor.log import Log
from mpchat.supervisor.log_orders import MAX_LOGGERS, LogOrders


class Child:
    def __init__(self, role: Role) -> None:
        self.role = role
        self.told: list[Message] = []

    def send(self, message: Message) -> None:
        self.told.append(message)


@pytest.fixture
def orders() -> LogOrders:
    log: Any = SimpleNamespace(info=lambda text: None, order=lambda level: None)
    log.force = lambda level: None
    family: Any = ()
    return LogOrders(log, family)


def test_the_loggers_that_may_have_another_level_have_a_limit(orders: LogOrders) -> None:
    def ask(logger: str, level: str | None) -> str:
        return orders.set_level(LogLevel(logger, level, 10 if level else None))

    for number in range(MAX_LOGGERS):
        assert ask(f"logger.{number}", "debug") == ""
    assert ask("one.more", "debug").startswith("1000 loggers have another level by order already")
    assert ask("logger.7", "error") == ask("logger.8", None) == ask("one.more", "debug") == ""
    assert orders.levels["logger.7"] == "error"
    assert len(orders.levels) == MAX_LOGGERS


def test_the_loggers_that_may_be_forced_have_a_limit(orders: LogOrders) -> None:
    for number in range(MAX_LOGGERS):
        assert orders.set_state(DebugLog(f"logger.{number}", 1)) == ""
    refusal = orders.set_state(DebugLog("one.more", 1))
    assert refusal.startswith("1000 loggers are forced on or off already")
    assert "one.more" not in orders.locations
    # It takes the place of those below it.
    assert orders.set_state(DebugLog("logger", -1)) == ""
    assert orders.locations == {"logger": -1}
    with pytest.raises(MalformedMessage):
        orders.set_state(DebugLog("logger", 2))


def test_everybody_but_templates_is_told_and_our_own_lines_follow(
    capfd: pytest.CaptureFixture[str],
) -> None:
    children = [Child(role) for role in Role]
    family: Any = children
    log = Log()
    orders = LogOrders(log, family)
    asked: list[DebugLog | LogLevel] = [
        DebugLog("mpchat", -1),
        DebugLog("mpchat.supervisor", 1),
        LogLevel("default", "error", 40),
        DebugLog("", 0),
    ]
    log.info("before")
    for order in asked:
        if isinstance(order, DebugLog):
            orders.set_state(order)
        else:
            orders.set_level(order)
        log.debug(f"after {order}")
    assert capfd.readouterr().err.splitlines() == [
        "before",
        "mpchat.supervisor is forced on, with all below it, by order",
        f"after {asked[1]}",
        "the level of default is error, by order",
        f"after {asked[2]}",
    ]
    for child in children:
        is_template = child.role in {Role.TEMPLATE, Role.NEXT_TEMPLATE}
        assert child.told == ([] if is_template else asked)
