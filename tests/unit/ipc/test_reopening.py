"""Log files opened again: who has done it, who could not, and who has not answered."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest

from mpchat.ipc import messages
from mpchat.ipc.control import ControlError
from mpchat.ipc.reopening import reopen_logs, report_reopened

NAMES = {str(os.getpid()): "worker main/0", "999999": "the template"}


class Service:
    """Gives the descriptor to what stands for the processes; they answer before the order is done."""

    def __init__(self, processes: Callable[[int], None], names: dict[str, Any], error: str = ""):
        self._processes = processes
        self._names = names
        self._error = error

    async def give(
        self, verb: str, *descriptors: int, arguments: dict[str, Any] | None = None
    ) -> messages.OrderDone:
        assert (verb, arguments) == ("reopen", None)
        (descriptor,) = descriptors
        self._processes(descriptor)
        if self._error:
            raise ControlError(self._error)
        return messages.OrderDone(1, 1, "", self._names)


async def test_all_have_reopened_when_the_last_copy_is_closed() -> None:
    def one(descriptor: int) -> None:
        report_reopened([os.dup(descriptor)], [])

    mine = {str(os.getpid()): "worker main/0"}
    found = await reopen_logs(Service(one, mine), seconds=60)
    assert (found.pids, found.trouble, found.silent) == ([os.getpid()], [], [])


async def test_what_could_not_be_opened_is_told_with_the_name_of_the_process() -> None:
    def one(descriptor: int) -> None:
        report_reopened([os.dup(descriptor)], ["cannot reopen a", "cannot reopen b"])

    found = await reopen_logs(Service(one, NAMES), seconds=60)
    assert found.trouble == ["worker main/0: cannot reopen a", "worker main/0: cannot reopen b"]
    assert found.pids == []
    # It has ended, or had no descriptor left.
    assert found.silent == ["the template pid 999999"]


async def test_one_that_takes_too_long_is_named() -> None:
    kept: list[int] = []
    service = Service(lambda descriptor: kept.append(os.dup(descriptor)), NAMES)
    found = await reopen_logs(service, seconds=0.01)
    assert found.silent == [f"worker main/0 pid {os.getpid()}", "the template pid 999999"]
    # Nobody waits for it any more.
    report_reopened(kept, [])
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(kept[0])


async def test_the_supervisors_own_trouble_is_an_error() -> None:
    with pytest.raises(ControlError, match="cannot reopen"):
        await reopen_logs(Service(lambda _descriptor: None, NAMES, "cannot reopen"), seconds=60)
