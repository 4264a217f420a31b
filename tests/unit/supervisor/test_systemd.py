"""What the service manager hears."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mpchat.supervisor.systemd import ServiceManager

ADDRESS = "\0mpchat-test-notify"


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(ADDRESS)
        manager.setblocking(False)
        yield manager


def heard(receiver: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(receiver.recv(1000).decode())
        except BlockingIOError:
            return found


@pytest.fixture
def environment() -> dict[str, str]:
    return {"NOTIFY_SOCKET": ADDRESS.replace("\0", "@")}


@pytest.fixture
def service(environment: dict[str, str]) -> Iterator[ServiceManager]:
    manager = ServiceManager(environment)
    yield manager
    manager.close()


def test_notifications_reach_both_kinds_of_address(tmp_path: Path) -> None:
    for address in (str(tmp_path / "notify"), ADDRESS):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(address)
            service = ServiceManager({"NOTIFY_SOCKET": address.replace("\0", "@")})
            service.ready("fine")
            assert receiver.recv(1000) == f"READY=1\nMAINPID={os.getpid()}\nSTATUS=fine".encode()
            service.reloading()
            assert receiver.recv(1000).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        service.ready("nobody listens any more")
        service.close()
    ServiceManager({}).ready("nobody asked")


@pytest.mark.parametrize("ours", [True, False])
def test_the_watchdog_is_fed_three_times_in_its_time_and_only_in_good_health(
    receiver: socket.socket, environment: dict[str, str], ours: bool
) -> None:
    pid = str(os.getpid()) if ours else "1"
    service = ServiceManager(environment | {"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": pid})
    for now, healthy in ((100.0, True), (100.5, True), (101.0, True), (102.0, False), (103, True)):
        service.tick(now, "", healthy=healthy)
    service.close()
    assert heard(receiver) == ["WATCHDOG=1"] * (3 if ours else 0)


def test_the_status_follows_what_it_counts_once_a_second(
    receiver: socket.socket, service: ServiceManager
) -> None:
    service.ready("1")
    for now, status in ((100.0, "1"), (100.25, "2"), (100.5, "3"), (101.25, "3"), (103, "")):
        service.tick(now, status, healthy=True)
    assert heard(receiver)[1:] == ["STATUS=2", "STATUS=3"]


def test_a_drain_asks_for_more_time(receiver: socket.socket, service: ServiceManager) -> None:
    service.stopping()
    for now in (100.0, 100.5, 101.0):
        service.tick(now, "", healthy=True)
    assert heard(receiver)[1:] == ["EXTEND_TIMEOUT_USEC=5000000"] * 2


def test_a_start_that_waits_asks_for_more_time_until_it_is_over(
    receiver: socket.socket, service: ServiceManager
) -> None:
    service.waiting("waiting for an answer")
    for now in (100.0, 100.5):
        service.tick(now, "", healthy=True)
    service.ready("1")
    service.tick(102.0, "", healthy=True)
    told = [text.partition("\nMAINPID")[0] for text in heard(receiver)]
    assert told == ["STATUS=waiting for an answer", "EXTEND_TIMEOUT_USEC=5000000", "READY=1"]


def test_a_manager_that_is_busy_hears_the_newest_of_each_kind_later(
    receiver: socket.socket, service: ServiceManager
) -> None:
    for number in range(100):
        service.reloading()
        service.ready(f"generation {number}")
    taken = heard(receiver)
    assert len(taken) < 200
    service.tick(1.0, "", healthy=True)
    late = heard(receiver)
    assert [text.partition("\n")[0] for text in late] == ["RELOADING=1", "READY=1"]
    assert late[-1].endswith("STATUS=generation 99")
    service.tick(2.0, "", healthy=True)
    assert heard(receiver) == []


@pytest.mark.parametrize("odd", ["²", "-1", "1e6", "9" * 400, "", "ten"])
def test_an_odd_watchdog_interval_is_none(
    receiver: socket.socket, environment: dict[str, str], odd: str
) -> None:
    service = ServiceManager({**environment, "WATCHDOG_USEC": odd})
    service.tick(1.0, "", healthy=True)
    service.close()
    assert heard(receiver) == []


def test_odd_text_reaches_the_manager_in_utf_8(
    receiver: socket.socket, service: ServiceManager
) -> None:
    service.ready("the last reload failed: \udcff")
    assert heard(receiver)[-1].endswith("\\udcff")
