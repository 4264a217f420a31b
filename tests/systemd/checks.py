"""mpchat under a real systemd, from the installation on: `make systemd-test`.

Not named as tests are, so that `make test` leaves it out: it needs root, a package mirror and a minute.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from mpchat.testsuite.logs import parse_tskv
from mpchat.testsuite.service import wait_until
from tests.debian import SOURCE
from tests.docs.pages import ROOT, blocks
from tests.docs.test_blocks import merge
from tests.kit.certificates import Certificates, PairFiles
from tests.systemd.box import Box
from tests.systemd.unit import (
    COMMAND,
    CONTROL_SOCKET,
    DYNAMIC_CONFIG,
    STATIC_CONFIG,
    Unit,
    install,
)

PORT = 8080
WATCHDOG = "WatchdogSec=3"


@pytest.fixture(scope="session")
def box(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    box = Box(tmp_path_factory.mktemp("box"))
    # A run that is terminated takes its box away as one that is interrupted does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        wheel = max((ROOT / "dist").glob("mpchat-*.whl"), key=lambda path: path.stat().st_mtime)
        box.fill(ROOT, wheel)
        box.boot()
        install(box)
        yield box
    finally:
        box.close()


@pytest.fixture
def unit(box: Box) -> Iterator[Unit]:
    unit = Unit(box)
    unit.reset()
    yield unit
    # Shown with a check that fails.
    print(unit.journal())


async def client(box: Box) -> ClientConnection:
    def make() -> socket.socket:
        return socket.create_connection(("localhost", PORT))

    sock = await asyncio.to_thread(box.in_network, make)
    return await connect(f"ws://localhost:{PORT}/chat", sock=sock, ping_interval=None)


async def assert_echoes(chat: ClientConnection) -> None:
    await chat.send("hello")
    assert await chat.recv() == "hello"


async def talk(chat: ClientConnection) -> int | None:
    """Send and receive until the service closes; return its close code."""
    try:
        while True:
            await assert_echoes(chat)
    except ConnectionClosed:
        return chat.close_code


def test_the_documented_installation_runs_and_is_enabled(box: Box) -> None:
    unit = Unit(box)
    assert unit.show("ActiveState") == "active"
    assert unit.show("UnitFileState") == "enabled"
    assert len(unit.workers()) == 4
    assert all(worker["compiled"] for worker in unit.status()["workers"])
    pids = [unit.show("MainPID"), *map(str, unit.workers())]
    users = box.run("stat", "-c", "%U", *(f"/proc/{pid}" for pid in pids)).stdout
    assert set(users.split()) == {"mpchat"}


def test_systemd_analyze_finds_the_unit_clean_and_its_exposure_at_most_3(box: Box) -> None:
    verified = box.run("systemd-analyze", "verify", "mpchat.service")
    assert (verified.stdout, verified.stderr) == ("", "")
    # In tenths; the command fails above it.
    box.run("systemd-analyze", "security", "--no-pager", "--threshold=30", "mpchat")


GATED = """
import asyncio
import os

from mpchat import WebsocketHandlerBase, default_component_list, minimal_server_component_list


class Gated(WebsocketHandlerBase):
    name = "websocket-handler"

    async def start(self):
        while not os.path.exists("gate"):
            await asyncio.sleep(0.01)

    async def handle(self, chat, context):
        pass


def components():
    return minimal_server_component_list().append(Gated)
"""


def test_a_start_is_over_when_every_worker_serves(box: Box, unit: Unit) -> None:
    box.path("/etc/mpchat/gated.py").write_text(GATED)
    config = box.path(STATIC_CONFIG)
    config.write_text(config.read_text().partition("        handler-ping:")[0])
    unit.drop_in(
        "ExecStart=", f"ExecStart={COMMAND} serve -c {STATIC_CONFIG} --app gated:components"
    )
    unit.systemctl("stop")
    box.run("systemctl", "start", "--no-block", "mpchat")
    wait_until(
        lambda: box.run("test", "-S", CONTROL_SOCKET, check=False).returncode == 0, "monitor"
    )
    wait_until(lambda: states(unit) == ["starting"] * 4, "four workers that start")
    assert unit.show("ActiveState") == "activating"
    gate = box.path("/etc/mpchat/gate")
    gate.touch()
    unit.systemctl("start")
    gate.unlink()
    assert unit.show("ActiveState") == "active"
    assert states(unit) == ["ready"] * 4


def states(unit: Unit) -> list[str]:
    return [worker["state"] for worker in unit.status()["workers"]]


async def test_the_status_line_follows_the_numbers(box: Box, unit: Unit) -> None:
    chats = [await client(box) for _ in range(3)]
    for count in (3, 0):
        text = f"4 workers ready, {count} connections, dynamic config generation 1"
        await asyncio.to_thread(unit.wait_for, "StatusText", text)
        for chat in chats:
            await chat.close()


async def test_a_reload_is_applied_when_it_returns_and_closes_nothing(box: Box, unit: Unit) -> None:
    chat = await client(box)
    await asyncio.to_thread(unit.systemctl, "reload")
    assert {worker["generation"] for worker in unit.status()["workers"]} == {2}
    assert unit.show("StatusText").endswith("dynamic config generation 2")
    assert unit.show("ActiveState") == "active"
    await assert_echoes(chat)
    await chat.close()


async def test_a_bad_reload_fails_says_why_and_changes_nothing(box: Box, unit: Unit) -> None:
    chat = await client(box)
    before = unit.show("MainPID"), unit.workers()
    box.path(DYNAMIC_CONFIG).write_text('{"MPCHAT_LIMITS": {"max_conections": 1}}')
    result = await asyncio.to_thread(unit.systemctl, "reload", check=False)
    assert result.returncode != 0
    reason = f"{DYNAMIC_CONFIG}:1:38: MPCHAT_LIMITS.max_conections: unknown option"
    await asyncio.to_thread(unit.wait_for_journal, reason)
    assert f"generation 1; the last reload failed: {reason}" in unit.show("StatusText")
    assert unit.show("ActiveState") == "active"
    assert (unit.show("MainPID"), unit.workers()) == before
    await assert_echoes(chat)
    await chat.close()
    box.path(DYNAMIC_CONFIG).write_text("{}")
    await asyncio.to_thread(unit.systemctl, "reload")
    assert unit.show("StatusText").endswith("dynamic config generation 2")


def test_the_control_socket_obeys_root_and_the_service_user_only(box: Box, unit: Unit) -> None:
    for verb in ("status", "connections", "reload"):
        command = [COMMAND, verb, "--socket", CONTROL_SOCKET]
        box.run(*command)
        box.run("runuser", "-u", "mpchat", "--", *command)
        refused = box.run("runuser", "-u", "nobody", "--", *command, check=False)
        assert refused.returncode == 1
        assert f"{CONTROL_SOCKET}: Permission denied" in refused.stderr
    assert unit.status()["generation"] == 3


async def test_log_lines_of_all_processes_are_in_the_journal(box: Box, unit: Unit) -> None:
    unit.systemctl("restart")
    chat = await client(box)
    await chat.close()
    ready = f"ready: ws://localhost:{PORT}/chat, 4 workers"
    assert record(unit, ready)["pid"] == unit.show("MainPID")
    assert int(record(unit, "GET /chat 101")["pid"]) in unit.workers()


def record(unit: Unit, text: str) -> dict[str, str]:
    """Wait for a line of the service in the journal."""
    unit.wait_for_journal(f"\ttext={text}")
    records = [parse_tskv(line) for line in unit.journal().splitlines()]
    return next(record for record in records if record["text"].startswith(text))


def test_log_files_are_for_the_service_and_the_group_adm(box: Box, unit: Unit) -> None:
    config = box.path(STATIC_CONFIG)
    config.write_text(config.read_text().replace("'@stderr'", "/var/log/mpchat/server.log"))
    unit.systemctl("restart")
    names = ("/var/log/mpchat", "/var/log/mpchat/server.log")
    owners = box.run("stat", "-c", "%U %G %a", *names).stdout.splitlines()
    assert owners == ["mpchat adm 2750", "mpchat adm 640"]
    assert "4 workers" in box.path("/var/log/mpchat/server.log").read_text()
    assert box.run("runuser", "-u", "nobody", "--", "ls", names[0], check=False).returncode != 0


def test_logrotate_moves_log_files_and_the_service_begins_new_ones(box: Box, unit: Unit) -> None:
    config = box.path(STATIC_CONFIG)
    config.write_text(config.read_text().replace("'@stderr'", "/var/log/mpchat/rotated.log"))
    unit.systemctl("restart")
    rotated = box.run("logrotate", "--force", "/etc/logrotate.d/mpchat")
    assert (rotated.stdout, rotated.stderr) == ("", "")
    new, old = (box.path(f"/var/log/mpchat/rotated.log{end}") for end in ("", ".1"))
    wait_until(new.exists, "new log file")
    assert "ready: ws://localhost" in old.read_text()
    unit.systemctl("reload")
    wait_until(lambda: "generation 2 is applied" in new.read_text(), "line in the new log file")
    assert (
        box.run("stat", "-c", "%U %G %a", "/var/log/mpchat/rotated.log").stdout
        == "mpchat adm 640\n"
    )


CREDENTIALS = PairFiles(Path("/etc/ssl/private/mpchat.crt"), Path("/etc/ssl/private/mpchat.key"))
LINEAGE = "/etc/letsencrypt/live/chat.example.com"
COPY = "/etc/mpchat/tls/chat.example.com"
_OPTIONS = [
    yaml.safe_load(block.text)
    for block in blocks((ROOT / "docs" / "tls.md").read_text())
    if block.language == "yaml"
]
(BY_CREDENTIALS,) = [one for one in _OPTIONS if "/run/credentials" in str(one)]
BY_CERTBOT = _OPTIONS[0]


def configure(box: Box, options: Any) -> None:
    """Have the service serve with the page's options."""
    config = yaml.safe_load((ROOT / "static_config.yaml").read_text())
    merge(config["components_manager"]["components"], options)
    box.path(STATIC_CONFIG).write_text(yaml.safe_dump(config))


def put(box: Box, made: PairFiles, place: PairFiles) -> None:
    """Write a pair where only root can read it."""
    for source, path in ((made.cert, place.cert), (made.key, place.key)):
        box.run("install", "-D", "-m", "600", "/dev/null", str(path))
        box.path(str(path)).write_bytes(source.read_bytes())


def shown(box: Box, certificates: Certificates) -> bytes:
    """Return the certificate that a new client sees on port 443."""

    def connect() -> socket.socket:
        return socket.create_connection(("localhost", 443))

    with certificates.trusting().wrap_socket(
        box.in_network(connect), server_hostname="localhost"
    ) as secured:
        found = secured.getpeercert(binary_form=True)
    assert found is not None
    return found


def leaf(pair: PairFiles) -> bytes:
    end = "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(pair.cert.read_text().partition(end)[0] + end)


def use_port_443(box: Box) -> None:
    drop_in = "/etc/systemd/system/mpchat.service.d/tls.conf"
    box.run("install", "-D", "-m", "644", f"{SOURCE}/deploy/mpchat.service.d/tls.conf", drop_in)
    box.run("systemctl", "daemon-reload")


def test_tls_on_port_443_with_a_key_that_only_root_can_read(
    box: Box, unit: Unit, certificates: Certificates
) -> None:
    put(box, certificates.ec, CREDENTIALS)
    configure(box, BY_CREDENTIALS)
    use_port_443(box)
    verified = box.run("systemd-analyze", "verify", "mpchat.service")
    assert (verified.stdout, verified.stderr) == ("", "")
    unit.systemctl("restart")
    assert shown(box, certificates) == leaf(certificates.ec)
    refused = box.run("runuser", "-u", "mpchat", "--", "cat", str(CREDENTIALS.key), check=False)
    assert "Permission denied" in refused.stderr
    # A reload can read its copy, too; another pair comes with a restart.
    put(box, certificates.rsa, CREDENTIALS)
    unit.systemctl("reload")
    assert shown(box, certificates) == leaf(certificates.ec)
    unit.systemctl("restart")
    assert shown(box, certificates) == leaf(certificates.rsa)


def test_certbots_hook_gives_the_service_a_renewed_certificate(
    box: Box, unit: Unit, certificates: Certificates
) -> None:
    def renew(made: PairFiles) -> subprocess.CompletedProcess[str]:
        renewed = PairFiles(Path(LINEAGE, "fullchain.pem"), Path(LINEAGE, "privkey.pem"))
        put(box, made, renewed)
        hook = f"{SOURCE}/deploy/certbot-deploy-hook"
        return box.run("env", f"RENEWED_LINEAGE={LINEAGE}", hook, check=False)

    renew(certificates.ec)
    put(box, certificates.ec, CREDENTIALS)
    configure(box, BY_CERTBOT)
    use_port_443(box)
    unit.systemctl("restart")
    assert shown(box, certificates) == leaf(certificates.ec)
    before = unit.workers()
    assert renew(certificates.rsa).returncode == 0
    assert shown(box, certificates) == leaf(certificates.rsa)
    owners = box.run("stat", "-c", "%U %G %a", COPY, f"{COPY}/privkey.pem")
    assert owners.stdout.splitlines() == ["root mpchat 750", "root mpchat 640"]
    assert renew(certificates.expired).returncode != 0
    unit.wait_for_journal(f"{COPY}/fullchain.pem: certificate 1 ")
    assert shown(box, certificates) == leaf(certificates.rsa)
    assert unit.workers() == before


def test_a_killed_worker_is_replaced_and_systemd_sees_nothing(box: Box, unit: Unit) -> None:
    before = unit.show("MainPID")
    victim = unit.workers()[0]
    unit.signal("KILL", victim)
    wait_until(lambda: sum(w["restarts"] for w in unit.status()["workers"]) == 1, "restart")
    wait_until(lambda: len(unit.workers()) == 4, "four workers")
    assert victim not in unit.workers()
    assert (unit.show("ActiveState"), unit.show("NRestarts")) == ("active", "0")
    assert unit.show("MainPID") == before
    unit.wait_for_journal(f"pid {victim}: killed by SIGKILL")


def test_a_rolling_restart_replaces_all_and_systemd_sees_nothing(box: Box, unit: Unit) -> None:
    before, workers = unit.show("MainPID"), set(unit.workers())
    config = box.path(STATIC_CONFIG)
    good = config.read_text()
    command = [COMMAND, "restart", "--socket", CONTROL_SOCKET]
    config.write_text(good.replace("port: 8080", "port: many"))
    refused = box.run(*command, check=False)
    assert refused.returncode == 1
    assert f"{STATIC_CONFIG}:20:23: components.server.listener.port: expected" in refused.stderr
    assert set(unit.workers()) == workers
    config.write_text(good)
    assert box.run(*command).stdout == "restarted\n"
    wait_until(lambda: len(unit.workers()) == 4, "four workers")
    assert not workers & set(unit.workers())
    assert (unit.show("MainPID"), unit.show("NRestarts")) == (before, "0")
    assert unit.show("ActiveState") == "active"


async def test_the_watchdog_restarts_a_service_whose_supervisor_stands_still(
    box: Box, unit: Unit
) -> None:
    unit.drop_in(WATCHDOG)
    unit.systemctl("restart")
    unit.signal("STOP", unit.show("MainPID"))
    await assert_restarted_by_the_watchdog(box, unit, deadline=15)


def test_a_worker_that_stands_still_is_replaced_and_the_watchdog_fed(box: Box, unit: Unit) -> None:
    unit.drop_in(WATCHDOG)
    config = box.path(STATIC_CONFIG)
    # Longer than the watchdog waits.
    changed = config.read_text().replace(
        "        server:\n", "        server:\n            worker-hang-timeout: 5s\n"
    )
    config.write_text(changed)
    unit.systemctl("restart")
    before, victim = unit.show("MainPID"), unit.workers()[0]
    unit.signal("STOP", victim)
    unit.wait_for_journal(f"pid {victim}: killed by SIGKILL")
    wait_until(lambda: len(unit.workers()) == 4, "four workers")
    assert victim not in unit.workers()
    assert f"pid {victim} is stuck" in unit.journal()
    assert (unit.show("MainPID"), unit.show("NRestarts")) == (before, "0")


async def assert_restarted_by_the_watchdog(box: Box, unit: Unit, deadline: float) -> None:
    before = unit.show("MainPID")
    await asyncio.to_thread(unit.wait_for, "NRestarts", "1", deadline)
    await asyncio.to_thread(unit.wait_for, "ActiveState", "active")
    assert "Watchdog timeout" in unit.journal()
    assert unit.show("MainPID") != before
    assert len(unit.workers()) == 4
    chat = await client(box)
    await assert_echoes(chat)
    await chat.close()


async def test_a_stop_under_load_closes_with_1001_and_kills_nobody(box: Box, unit: Unit) -> None:
    chats = [await client(box) for _ in range(50)]
    tasks = [asyncio.create_task(talk(chat)) for chat in chats]
    begun = time.monotonic()
    await asyncio.to_thread(unit.systemctl, "stop")
    # The drain's deadline of 10 s and a grace of 2 s.
    assert time.monotonic() - begun < 12
    assert await asyncio.gather(*tasks) == [1001] * 50
    assert_stopped_in_order(unit)


async def test_a_drain_that_takes_long_is_given_the_time(box: Box, unit: Unit) -> None:
    box.path(DYNAMIC_CONFIG).write_text('{"MPCHAT_DRAIN": {"lameduck_ms": 6000}}')
    unit.drop_in("TimeoutStopSec=2")
    unit.systemctl("reload")
    chat = await client(box)
    task = asyncio.create_task(talk(chat))
    begun = time.monotonic()
    await asyncio.to_thread(unit.systemctl, "stop")
    assert time.monotonic() - begun > 6
    assert await task == 1001
    assert_stopped_in_order(unit)


def assert_stopped_in_order(unit: Unit) -> None:
    assert unit.show("ActiveState") == "inactive"
    assert (unit.show("Result"), unit.show("ExecMainStatus")) == ("success", "0")
    journal = unit.journal()
    assert "Deactivated successfully" in journal
    assert "SIGKILL" not in journal


@pytest.mark.parametrize(("fault", "code"), [("config", "78"), ("command line", "64")])
def test_what_a_restart_does_not_heal_is_not_restarted(
    box: Box, unit: Unit, fault: str, code: str
) -> None:
    if fault == "config":
        config = box.path(STATIC_CONFIG)
        config.write_text(config.read_text().replace("port: 8080", "port: many"))
        reason = f"{STATIC_CONFIG}:20:23: components.server.listener.port: expected an integer"
    else:
        unit.drop_in("ExecStart=", f"ExecStart={COMMAND} serve --no-such-option")
        reason = "No such option"
    assert unit.systemctl("restart", check=False).returncode != 0
    assert (unit.show("ActiveState"), unit.show("Result")) == ("failed", "exit-code")
    assert (unit.show("ExecMainStatus"), unit.show("NRestarts")) == (code, "0")
    unit.wait_for_journal(reason)


def test_a_start_that_fails_five_times_in_a_minute_is_given_up(box: Box, unit: Unit) -> None:
    unit.systemctl("stop")
    box.run("systemctl", "reset-failed", "mpchat", check=False)

    def take_port() -> socket.socket:
        return socket.create_server(("", PORT))

    with box.in_network(take_port):
        assert unit.systemctl("start", check=False).returncode != 0
        assert unit.show("ActiveState") == "activating"
        unit.wait_for("ActiveState", "failed", deadline=60)
    unit.wait_for_journal("Start request repeated too quickly")
    assert unit.journal().count("another process listens there") == 5
    assert unit.show("ExecMainStatus") == "69"
    unit.systemctl("reset-failed")
    unit.systemctl("start")
    assert unit.show("ActiveState") == "active"
