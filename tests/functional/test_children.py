"""Processes that a handler starts: they hold nothing of the service's, and end with their worker."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect

from mpchat.testsuite.service import Service
from tests.functional.conftest import Serve
from tests.kit.waiting import eventually

HANDLER = """
import asyncio, json, multiprocessing, os, socket, subprocess, threading, time
from concurrent.futures import ProcessPoolExecutor
from mpchat import WebsocketHandlerBase, minimal_server_component_list

context = multiprocessing.get_context("fork")

def look():
    links = []
    for name in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:
            pass
    return [os.getpid(), links, open("/proc/self/status").read()]

def fork_in_a_thread(found):
    process = context.Process(target=time.sleep, args=(1000,))
    process.start()
    found.append(process.pid)

class Chat(WebsocketHandlerBase):
    name = "websocket-handler"

    def __init__(self, options, components):
        super().__init__(options, components)
        self.pool = ProcessPoolExecutor(1, mp_context=context)

    async def handle(self, chat, context):
        await chat.send(str(os.getpid()))
        async for what in chat:
            await chat.send(json.dumps(await getattr(self, what)()))

    async def pooled(self):
        return await asyncio.get_running_loop().run_in_executor(self.pool, look)

    async def threaded(self):
        found = []
        thread = threading.Thread(target=fork_in_a_thread, args=(found,))
        thread.start()
        thread.join()
        return found[0]

    async def program(self):
        return subprocess.Popen(["sleep", "1000"], start_new_session=True).pid

    async def daemon(self):
        line = "setsid sleep 1000 >&- & echo $!"
        return int(subprocess.check_output(["sh", "-c", line]))

    async def pair(self):
        self.ends = socket.socketpair()
        return [os.readlink(f"/proc/self/fd/{end.fileno()}") for end in self.ends]

    async def status(self):
        return subprocess.check_output(["cat", "/proc/self/status"]).decode()

components = minimal_server_component_list().append(Chat)
"""


@pytest.fixture
def service(serve: Serve, service_tmpdir: Path) -> Iterator[Service]:
    (service_tmpdir / "starts_processes.py").write_text(HANDLER)
    changes = {"handler-ping": None, "task_processors.main-task-processor.worker_threads": 1}
    with serve(changes, "--app", "starts_processes:components") as service:
        yield service


async def ask(chat: ClientConnection, what: str) -> Any:
    await chat.send(what)
    return json.loads(await chat.recv())


def lives(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    return False


async def start_all(chat: ClientConnection) -> list[int]:
    pooled = (await ask(chat, "pooled"))[0]
    pids = [pooled, *[await ask(chat, what) for what in ("threaded", "program", "daemon")]]
    assert all(map(lives, pids))
    return pids


async def wait_for_ends(pids: list[int]) -> None:
    await eventually(lambda: not any(map(lives, pids)), "end of what the handler started")


def signals(status: str) -> dict[str, int]:
    rows = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
    # Two that the C library keeps for itself: nobody can set them, and they are as this shell has them.
    theirs = 0b11 << 31
    return {name: int(rows[name], 16) & ~theirs for name in ("SigIgn", "SigBlk")}


async def test_a_forked_process_holds_no_socket_of_the_service(service: Service) -> None:
    async with connect(f"ws://localhost:{service.port}/chat") as chat:
        await chat.recv()
        own = await ask(chat, "pair")
        _pid, links, status = await ask(chat, "pooled")
        assert set(own) <= set(links)
        # uvloop has two of its own, for signals.
        sockets = {link for link in links if link.startswith("socket:")} - set(own)
        assert len(sockets) <= 2
        assert not any("mpchat-fault" in link for link in links)
        # Python itself ignores these two.
        ours = (1 << signal.SIGPIPE - 1) | (1 << signal.SIGXFSZ - 1)
        found = signals(status)
        assert (found["SigIgn"] & ~ours, found["SigBlk"]) == (0, 0)


async def test_a_program_inherits_no_ignored_and_no_blocked_signal(service: Service) -> None:
    async with connect(f"ws://localhost:{service.port}/chat") as chat:
        await chat.recv()
        assert signals(await ask(chat, "status")) == {"SigIgn": 0, "SigBlk": 0}


async def test_what_a_handler_starts_ends_with_its_worker_whatever_ends_that(
    service: Service,
) -> None:
    async with connect(f"ws://localhost:{service.port}/chat") as chat:
        worker = int(await chat.recv())
        first = await start_all(chat)
        os.kill(worker, signal.SIGKILL)
        await wait_for_ends(first)
    await eventually(lambda: service.pids("worker") not in ([], [worker]), "a new worker")
    async with connect(f"ws://localhost:{service.port}/chat") as chat:
        await chat.recv()
        second = await start_all(chat)
        # A look at orphans, for that of a worker that is gone, has left those of a living one.
        assert all(map(lives, second))
        assert await asyncio.to_thread(service.stop) == 0
    await wait_for_ends(second)
