"""Rooms that two hosts share by NATS: two services on this machine, and a real server between them."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.exceptions import ConnectionClosed

from mpchat.testsuite.clients import ServiceClient, WebsocketClient
from mpchat.testsuite.reporting import report_log_of
from mpchat.testsuite.rooms import Memberships
from mpchat.testsuite.service import Service, ServiceFailed
from tests.kit.control import Control
from tests.kit.nats import PASSWORD, USER, NatsServer
from tests.kit.room_client import SECONDS, V1, RoomClient, all_have
from tests.kit.waiting import eventually


class Host:
    """One of the services."""

    def __init__(self, service: Service, control: Control) -> None:
        self.service = service
        self.control = control
        self.websockets = WebsocketClient(service.port)
        self.http = ServiceClient(service.port)

    def broker(self) -> Any:
        """Return what status tells of its broker."""
        return self.control.status()["broker"]


def stream(nats: NatsServer) -> dict[str, Any]:
    """Return the options of a stream at this server."""
    return {
        "servers": [nats.url],
        "user": USER,
        "password": PASSWORD,
        "max-bytes": 64 * 1024 * 1024,
    }


@pytest.fixture
def nats(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path / "nats").start()
    yield server
    server.close()


@pytest.fixture
def service_config_yaml(service_config_yaml: Any, nats: NatsServer) -> Any:
    components = service_config_yaml["components_manager"]["components"]
    components["rooms"] = {
        "engine": "nats",
        "nats": stream(nats) | {"check-interval": "200ms"},
    }
    components["room-handler"] = {"path": "/rooms/{room}"}
    components["handler-rooms"] = {"path": "/rooms/{room}"}
    pools = service_config_yaml["components_manager"]["task_processors"]
    pools["main-task-processor"]["worker_threads"] = 1
    return service_config_yaml


Start = Callable[..., Host]


@pytest.fixture
def start(
    request: pytest.FixtureRequest, service_config: Any, service_command: list[str], tmp_path: Path
) -> Iterator[Start]:
    """Start a host: ``start("one")``; with other options of rooms: ``start("one", engine="host")``."""
    with contextlib.ExitStack() as hosts:

        def begin(name: str, *, needs_stream: bool = False, **rooms: Any) -> Host:
            folder = tmp_path / name
            folder.mkdir()
            config = copy.deepcopy(service_config)
            components = config["components_manager"]["components"]
            components["rooms"] |= rooms
            components["handler-ping"]["needs-stream"] = needs_stream
            control = Control(folder / "control.sock")
            components["server"]["control-socket"] = str(control.path)
            path = tmp_path / f"{name}.yaml"
            path.write_text(yaml.safe_dump(config))
            service = Service([*service_command, "-c", str(path)], folder)
            hosts.callback(service.close)
            report_log_of(service, request.node)
            service.wait_ready()
            return Host(service, control)

        yield begin


@pytest.fixture
def hosts(start: Start) -> list[Host]:
    return [start("one"), start("two")]


@contextlib.asynccontextmanager
async def members(hosts: list[Host]) -> AsyncIterator[list[RoomClient]]:
    """A member of one room at each host, and one more at the first."""
    found = [
        RoomClient(host.websockets, f"client-{number}")
        for number, host in enumerate([*hosts, hosts[0]])
    ]
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one.run()) for one in found]
        for one in found:
            await one.is_in.wait()
        yield found
        for task in running:
            task.cancel()


@pytest.mark.covers("RoomsOptions.engine", "RoomsOptions.nats")
async def test_what_one_says_reaches_all_hosts_in_one_order(hosts: list[Host]) -> None:
    async with members(hosts) as found:
        for number in range(20):
            await found[number % 3].publish(number)
        await all_have(found, [*range(20)])


async def test_who_comes_back_at_another_host_gets_what_was_missed(hosts: list[Host]) -> None:
    one, two = hosts
    async with members(hosts) as found:
        await found[0].publish("before")
        await all_have(found, ["before"])
        position = found[0].position
        for number in range(3):
            await found[1].publish(number)
    for host in (one, two):
        path = f"rooms/a?client={'x' * 16}&since={position}"
        async with host.websockets.get(path, subprotocols=V1) as chat:
            first = json.loads(await chat.recv())
            assert first["recovered"]
            assert [json.loads(await chat.recv())["data"] for _ in range(3)] == [0, 1, 2]


async def test_killed_brokers_lose_and_double_nothing(hosts: list[Host]) -> None:
    async with members(hosts) as found:
        for number in range(40):
            if number % 10 == 5:
                (broker,) = hosts[number // 10 % 2].service.pids("broker")
                os.kill(broker, signal.SIGKILL)
            await found[number % 3].publish(number)
        await all_have(found, [*range(40)])
        assert not any(one.codes for one in found)


@pytest.mark.covers("RoomsOptions.publish-timeout", "Ping.needs-stream")
async def test_without_nats_members_stay_and_publishes_are_unavailable(
    start: Start, nats: NatsServer
) -> None:
    hosts = [start("one", **{"publish-timeout": "500ms"}), start("two", needs_stream=True)]
    async with members(hosts) as found:
        await found[0].publish("before")
        nats.kill()
        await eventually(
            lambda: all(host.broker()["stream_lost_seconds"] is not None for host in hosts),
            "the status to say that the stream is lost",
            SECONDS,
        )
        async with hosts[0].websockets.get("rooms/b") as raw:
            # Who joins waits for the stream, and in vain.
            with pytest.raises(ConnectionClosed):
                async with asyncio.timeout(SECONDS):
                    await raw.recv()
        answer = await hosts[0].http.post("/rooms/a", {"vain": True})
        assert answer.status == 503
        assert [(await host.http.get("/ping")).status for host in hosts] == [200, 503]
        nats.start()
        await found[1].publish("after")
        await all_have(found, ["before", "after"])
        assert not any(one.codes for one in found)
        await eventually(
            lambda: all(host.broker()["stream_lost_seconds"] is None for host in hosts),
            "the status to say that the stream is there",
            SECONDS,
        )
        assert (await hosts[1].http.get("/ping")).status == 200


async def test_a_room_ends_on_all_hosts(hosts: list[Host]) -> None:
    one, two = hosts
    async with one.websockets.get("rooms/a") as near, two.websockets.get("rooms/a") as far:
        await Memberships(one.control.path).joined("a", 2)
        await near.send("hello")
        assert [await near.recv(), await far.recv()] == ["hello", "hello"]
        assert (await two.http.delete("/rooms/a")).status < 300
        for chat in (near, far):
            with pytest.raises(ConnectionClosed) as caught:
                await chat.recv()
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 4404


async def test_a_host_that_is_killed_has_no_members(hosts: list[Host]) -> None:
    one, two = hosts
    memberships = Memberships(one.control.path)
    async with one.websockets.get("rooms/a"), two.websockets.get("rooms/a"):
        await memberships.joined("a", 2)
        os.kill(two.service.pid, signal.SIGKILL)
        await memberships.joined("a", 1)


def test_nats_out_of_reach_ends_a_start_with_69(start: Start, nats: NatsServer) -> None:
    nats.close()
    with pytest.raises(ServiceFailed) as caught:
        start("one")
    assert caught.value.exit_code == 69
    assert f"the rooms' stream ROOMS: cannot connect to NATS: {nats.url}" in caught.value.stderr


def test_another_stream_of_that_name_ends_a_start_with_78(start: Start, nats: NatsServer) -> None:
    start("one")
    with pytest.raises(ServiceFailed) as caught:
        start("two", nats=stream(nats) | {"max-age": "2h"})
    assert caught.value.exit_code == 78
    assert "max_age: the stream has 1h0m0s, the options say 2h0m0s" in caught.value.stderr
