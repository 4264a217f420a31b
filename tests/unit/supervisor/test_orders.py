"""Orders: what the supervisor does not do is answered with the reason."""

from __future__ import annotations

import errno
import os
from types import SimpleNamespace
from typing import Any

import pytest

from mpchat.ipc import messages
from mpchat.ipc.channel import MalformedMessage
from mpchat.supervisor.child import Role
from mpchat.supervisor.orders import Orders


@pytest.mark.parametrize(
    "arguments", [{"user": 1}, {"code": True}, {"code": "4401"}, {"name": "ada"}, {"reason": None}]
)
def test_an_order_that_workers_could_not_read_is_nobodys(arguments: dict[str, Any]) -> None:
    unused: Any = None
    family: Any = SimpleNamespace(workers={1: unused})
    orders = Orders(unused, family, unused, unused, unused, unused, unused, unused, unused)
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
    orders = Orders(unused, unused, editions, unused, unused, unused, unused, sockets, unused)
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
    orders = Orders(unused, family, editions, unused, unused, unused, unused, unused, unused)
    descriptor = os.dup(0)
    orders.take(child, messages.Order(1, "reopen"), [descriptor], 0.0)
    assert told == [(descriptor,)]
    assert answers == [messages.OrderDone(1, 1, "cannot reopen the log x", {"7": "the monitor"})]
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    # The descriptor was lost on its way.
    orders.take(child, messages.Order(2, "reopen"), [], 0.0)
    assert answers[-1].error == "the supervisor has no descriptor left for that"


def test_the_dynamic_config_is_told_before_the_answer_or_the_reason_is() -> None:
    told: list[tuple[messages.Message, tuple[int, ...]]] = []
    refusals = [OSError(errno.EMFILE, "Too many open files")]

    def send(message: messages.Message, descriptors: tuple[int, ...] = ()) -> None:
        if descriptors and refusals:
            raise refusals.pop()
        told.append((message, descriptors))

    child: Any = SimpleNamespace(send=send, role=Role.MONITOR)
    message = messages.DynamicConfig(3, 1.5, {})
    announcer: Any = SimpleNamespace(in_force=lambda: message)
    generation = SimpleNamespace(memfd=9, certificates=10)
    editions: Any = SimpleNamespace(generation=3, current=SimpleNamespace(generation=generation))
    unused: Any = None
    orders = Orders(unused, unused, editions, announcer, unused, unused, unused, unused, unused)
    for number in (1, 2):
        orders.take(child, messages.Order(number, "dynamic-config"), [], 0.0)
    reason = "the dynamic config cannot be told: Too many open files"
    assert told == [
        (messages.OrderDone(1, 3, reason), ()),
        (message, (9,)),
        (messages.OrderDone(2, 3), ()),
    ]
    told.clear()
    child.role = Role.CONSOLE
    orders.take(child, messages.Order(3, "dynamic-config"), [], 0.0)
    # A console may serve by these certificates.
    assert told[0] == (message, (9, 10))
