"""Packets of rows: small, whatever the rows are, and the last one known as such; and their way."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mpchat.ipc import messages
from mpchat.ipc.messages import ReportRequests
from mpchat.ipc.reports import PACKET_BYTES, gather_reports, packets, send_report


@given(st.lists(st.text(max_size=3000), max_size=60))
def test_all_rows_are_in_packets_that_any_socket_takes(paths: list[str]) -> None:
    sent = [json.loads(packet) for packet in packets({"path": path} for path in paths)]
    assert [row["path"] for packet in sent for row in packet["rows"]] == paths
    assert [packet["last"] for packet in sent] == [False] * (len(sent) - 1) + [True]
    assert {packet["pid"] for packet in sent} == {os.getpid()}
    assert all(
        len(packet) <= PACKET_BYTES + 100 for packet in packets({"path": path} for path in paths)
    )


class Service:
    """Gives the descriptor to what stands for the processes."""

    def __init__(self, *processes: Callable[[int], None]) -> None:
        self._processes = processes

    async def give(
        self, verb: str, *descriptors: int, arguments: dict[str, Any] | None = None
    ) -> messages.OrderDone:
        assert (verb, arguments) == ("requests", {"open": True, "body": False})
        for process in self._processes:
            process(os.dup(descriptors[0]))
        return messages.OrderDone(1, 1)


def reporter(rows: Iterable[Any], tasks: list[asyncio.Task[None]]) -> Callable[[int], None]:
    return lambda descriptor: tasks.append(asyncio.create_task(send_report(descriptor, rows)))


ASKED = ReportRequests(open=True, body=False)


async def test_rows_of_any_length_arrive_in_their_order() -> None:
    tasks: list[asyncio.Task[None]] = []
    rows = [
        {"n": 1},
        {"n": 2, "text": 'a\\"\uffff' * 100_000},
        {"n": 3},
        {"n": 4, "text": "b" * 99_999},
    ]
    service = Service(reporter(rows, tasks))
    found = await gather_reports(service, ASKED, seconds=60)
    assert found.rows == rows
    assert found.reporters == {os.getpid()}
    await asyncio.gather(*tasks)


async def test_the_loop_turns_between_packets() -> None:
    turns = 0

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(20):
            # Each row fills a packet, so the loop has turned since the one before the last.
            assert turns >= number - 2
            yield {"n": number, "text": "x" * (PACKET_BYTES - 100)}

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    tasks: list[asyncio.Task[None]] = []
    turning = asyncio.create_task(turn())
    found = await gather_reports(Service(reporter(rows(), tasks)), ASKED, seconds=60)
    turning.cancel()
    assert [row["n"] for row in found.rows] == [*range(20)]
    await asyncio.gather(*tasks)


async def test_who_says_nothing_is_not_among_the_reporters() -> None:
    kept: list[int] = []
    found = await gather_reports(Service(kept.append), ASKED, seconds=0.01)
    assert (found.rows, found.reporters) == ([], set())
    # Nobody reads any more.
    await send_report(kept[0], [{"n": 1}])
