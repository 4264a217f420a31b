"""Instructions that a worker's own code takes for one message: what `make instructions` prints.

Callgrind counts them over a transport that keeps nothing, so the kernel is left out and the numbers are
the same on any machine with the same Python and libraries, to about a tenth of a percent. Payloads of
more than 512 bytes come from the C library's allocator, whose work depends on what came before: there a
percent is chance. Each row runs twice in forked children, once with more messages: the difference is free
of imports and warming up.

    python -m tests.instructions [--json FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

_MISSING = "make instructions needs valgrind, which is not installed: apt-get install valgrind"
_COUNT_HERE = "--count-here"
_BASE, _MORE = 400, 1_600
"""Messages of a child, and of the one that does more."""
_FEWER = 4
"""A handshake counts as so many messages."""
_PER_TURN = 50
"""Reads in one turn of the loop, within its budget."""
_IN_FLIGHT = 16
_TURNS_OF_HANDSHAKE = 3
"""The handler's task begins, then the answer is written."""
_HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

Row = Callable[[int], Coroutine[Any, Any, None]]


def _ignore(*_given: object, **_named: object) -> None:
    """Stand in for what a socket would do."""


class _Transport(asyncio.Transport):
    """Takes everything and keeps nothing, as cheaply as that can be done."""

    write = writelines = staticmethod(len)  # type: ignore[assignment]
    set_write_buffer_limits = pause_reading = resume_reading = _ignore
    write_eof = close = abort = _ignore

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return False


async def _echo(payload: int, at_once: int, count: int) -> None:
    """Echo messages, so many of which come in one read."""
    from tests.kit.frames import FINAL, TEXT, frame
    from tests.unit.websocket.rig import Worker, echo

    worker, transport = Worker(), _Transport()
    protocol = worker.serve(transport, echo)
    await asyncio.sleep(0)
    data = frame(FINAL | TEXT, b"x" * payload) * at_once
    done = asyncio.get_running_loop().create_future()
    reads = count // at_once
    step = max(1, _PER_TURN // at_once)

    def read() -> None:
        nonlocal reads
        for _ in range(min(step, reads)):
            protocol.data_received(data)
        reads -= step
        if reads > 0:
            worker.loop.call_soon(read)
        else:
            done.set_result(None)

    worker.loop.call_soon(read)
    await done
    while worker.counters.messages_sent < count // at_once * at_once:  # noqa: ASYNC110
        await asyncio.sleep(0)
    protocol.connection_lost(None)
    while worker.counters.connections:  # noqa: ASYNC110
        await asyncio.sleep(0)


async def _handshakes(count: int) -> None:
    """Open connections, and have their clients leave, one after another."""
    from mpchat.server.protocol import HttpProtocol

    server = _made_server()
    for number in range(count // _FEWER):
        transport = _Transport()
        first = HttpProtocol(server.services, server.registry, ("127.0.0.1", number), -1)
        first.connection_made(transport)
        first.data_received(_HANDSHAKE)
        for _ in range(_TURNS_OF_HANDSHAKE):
            await asyncio.sleep(0)
        transport.protocol.connection_lost(None)
        while server.registry.connections:  # noqa: ASYNC110
            await asyncio.sleep(0)


def _made_server() -> Any:
    from mpchat.dynamic_config.snapshot import Snapshot
    from mpchat.scoreboard.scoreboard import Scoreboard
    from mpchat.server.balance import Balance
    from mpchat.server.board import ServiceBoard
    from mpchat.server.options import ServerOptions
    from mpchat.server.server import Server
    from tests.unit.websocket.rig import Worker, echo, made_handler

    scoreboard = Scoreboard.create()
    scoreboard.set_service("slots", 1)
    board = ServiceBoard(
        scoreboard, scoreboard.row(0, 0), scoreboard.addresses(0, 0), scoreboard.users(0, 0)
    )
    worker, snapshot = Worker(), Snapshot(1, {}, ())
    return Server(
        worker.loop,
        ServerOptions.model_validate({"listener": {"port": 0}}),
        [made_handler(echo)],
        worker.shared,
        lambda: snapshot,
        board,
        asyncio.Event(),
        Balance(board, 0),
    )


_ROWS: dict[str, tuple[Row, int]] = {
    "32 B echo": (lambda count: _echo(32, 1, count), 1),
    "1 KiB echo": (lambda count: _echo(1024, 1, count), 1),
    f"32 B, {_IN_FLIGHT} in flight": (lambda count: _echo(32, _IN_FLIGHT, count), 1),
    "handshake and end": (_handshakes, _FEWER),
}
"""Each with how many messages of the others cost about as much as one of its own."""


def _count_here() -> None:
    """Run each row in two children of this process, and print which child did what."""
    import uvloop

    # Both children begin with the same of what is loaded and made once.
    for row, _messages in _ROWS.values():
        uvloop.run(row(_BASE))
    gc.collect()
    gc.disable()
    for name, (row, messages) in _ROWS.items():
        for count in (_BASE, _BASE + _MORE):
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                uvloop.run(row(count))
                os._exit(0)
            _pid, status = os.waitpid(child, 0)
            if status:
                raise SystemExit(f"{name}: a child failed")
            print(json.dumps([name, count // messages, child]))


def _instructions(folder: Path) -> dict[str, float]:
    command = (
        "valgrind",
        "--tool=callgrind",
        f"--callgrind-out-file={folder}/%p",
        f"--log-file={folder}/log",
        sys.executable,
        "-m",
        "tests.instructions",
        _COUNT_HERE,
    )
    # Where objects lie decides about nothing but hashes.
    env = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONMALLOC": "pymalloc"}
    output = subprocess.run(command, env=env, check=True, text=True, stdout=subprocess.PIPE).stdout
    totals: dict[str, list[tuple[int, int]]] = {}
    for name, count, child in map(json.loads, output.splitlines()):
        found = re.search(r"^(?:summary|totals): (\d+)", (folder / str(child)).read_text(), re.M)
        if found is None:
            raise SystemExit(f"callgrind has written no total for {name}")
        totals.setdefault(name, []).append((count, int(found[1])))
    return {
        name: (more - base) / (many - few) for name, ((few, base), (many, more)) in totals.items()
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers here, too")
    parser.add_argument(_COUNT_HERE, action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.count_here:
        _count_here()
        return
    if shutil.which("valgrind") is None:
        raise SystemExit(_MISSING)
    with tempfile.TemporaryDirectory() as folder:
        found = _instructions(Path(folder))
    if given.json is not None:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    width = max(map(len, found))
    print(f"{'':{width}}  instructions")
    for name, count in found.items():
        print(f"{name:{width}}  {count:12,.0f}")


if __name__ == "__main__":
    main()
