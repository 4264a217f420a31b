"""Orders: what the supervisor does not do is answered with the reason."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.ipc import messages
from mpchat.ipc.channel import MalformedMessage
from mpchat.supervisor.orders import MAX_LOGGERS, Orders


def test_the_loggers_that_may_have_another_level_have_a_limit() -> None:
    answers: list[messages.OrderDone] = []
    child: Any = SimpleNamespace(send=answers.append)
    log: Any = SimpleNamespace(info=lambda text: None, order=lambda level: None)
    family: Any = ()
    editions: Any = SimpleNamespace(generation=1)
    unused: Any = None
    levels: dict[str, str] = {}
    orders = Orders(log, family, editions, levels, unused, unused, unused, unused)

    def ask(logger: str, level: str | None) -> str:
        arguments = {"logger": logger, "level": level, "number": 10 if level else None}
        orders.take(child, messages.Order(1, "log-level", arguments), [], 0.0)
        return answers[-1].error

    for number in range(MAX_LOGGERS):
        assert ask(f"logger.{number}", "debug") == ""
    assert ask("one.more", "debug").startswith("1000 loggers have another level by order already")
    assert ask("logger.7", "error") == ask("logger.8", None) == ask("one.more", "debug") == ""
    assert levels["logger.7"] == "error"
    assert len(levels) == MAX_LOGGERS


@pytest.mark.parametrize(
    "arguments", [{"user": 1}, {"code": True}, {"code": "4401"}, {"name": "ada"}, {"reason": None}]
)
def test_an_order_that_workers_could_not_read_is_nobodys(arguments: dict[str, Any]) -> None:
    unused: Any = None
    family: Any = SimpleNamespace(workers={1: unused})
    orders = Orders(unused, family, unused, {}, unused, unused, unused, unused)
    with pytest.raises(MalformedMessage):
        orders.take(unused, messages.Order(1, "connections", arguments), [0], 0.0)


def test_what_the_system_does_not_tell_is_answered_with_the_reason() -> None:
    def describe() -> dict[str, Any]:
        raise OSError(errno.ENOBUFS, "")

    answers: list[messages.OrderDone] = []
    child: Any = SimpleNamespace(send=answers.append)
    editions: Any = SimpleNamespace(generation=1)
    sockets: Any = SimpleNamespace(listeners=SimpleNamespace(describe=describe))
    unused: Any = None
    orders = Orders(unused, unused, editions, {}, unused, unused, unused, sockets)
    orders.take(child, messages.Order(1, "listeners"), [], 0.0)
    (done,) = answers
    assert done.error == "the queues of the listening sockets: No buffer space available"
    sockets.listeners.describe = lambda: {"port": 1}
    orders.take(child, messages.Order(2, "listeners"), [], 0.0)
    assert answers[-1] == messages.OrderDone(2, 1, "", {"port": 1})


def test_log_files_are_opened_again_by_every_process_or_the_reason_is_told() -> None:
    answers: list[messages.OrderDone] = []
    told: list[tuple[int, ...]] = []
    child: Any = SimpleNamespace(send=answers.append)
    editions: Any = SimpleNamespace(generation=1)

    def reopen_logs(descriptors: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
        told.append(descriptors)
        return "cannot reopen the log x", {"7": "the monitor"}

    family: Any = SimpleNamespace(reopen_logs=reopen_logs)
    unused: Any = None
    orders = Orders(unused, family, editions, {}, unused, unused, unused, unused)
    descriptor = os.dup(0)
    orders.take(child, messages.Order(1, "reopen"), [descriptor], 0.0)
    assert told == [(descriptor,)]
    assert answers == [messages.OrderDone(1, 1, "cannot reopen the log x", {"7": "the monitor"})]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    # The descriptor was lost on its way.
    orders.take(child, messages.Order(2, "reopen"), [], 0.0)
    assert answers[-1].error == "the supervisor has no descriptor left for that"
