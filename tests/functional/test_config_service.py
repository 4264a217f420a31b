"""A service that follows a config service: what it asks, what it does with answers, good and bad."""

from __future__ import annotations

import itertools
import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mpchat.testsuite.service import Service, ServiceFailed, wait_until
from tests.functional.conftest import Serve, shares
from tests.functional.test_console import ask, console_pid, port_of
from tests.kit.config_server import Asked, ConfigServer, Reply, answer, config_server
from tests.kit.control import Control
from tests.kit.ports import free_port

CLIENT, UPDATER = "dynamic-config-client", "dynamic-config-client-updater"
LIMITS = "MPCHAT_LIMITS"


@pytest.fixture(scope="module")
def the_server() -> Iterator[ConfigServer]:
    with config_server() as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest, the_server: ConfigServer) -> Iterator[ConfigServer]:
    """Without values and requests: that of the module's service, or one for this test alone."""
    if not shares(request):
        with config_server() as own:
            yield own
        return
    the_server.behave = the_server.follow
    the_server.remove(*the_server.values)
    the_server.asked.clear()
    yield the_server


@pytest.fixture
def cache(service_tmpdir: Path) -> Path:
    return service_tmpdir / "configs" / "cache.json"


@pytest.fixture
def service_config_yaml(service_config_yaml: Any, server: ConfigServer, cache: Path) -> Any:
    manager = service_config_yaml["components_manager"]
    manager["task_processors"][manager["default_task_processor"]]["worker_threads"] = 2
    components = manager["components"]
    components["dynamic-config"] = {"updates-enabled": True, "fs-cache-path": str(cache)}
    components[CLIENT] = {
        "config-url": server.url,
        "service-name": "chat-service",
        "http-timeout": "20s",
        "http-retries": 1,
    }
    components[UPDATER] = {
        "config-settings": False,
        "first-update-fail-ok": True,
        "update-interval": "50ms",
        "full-update-interval": "1h",
    }
    return service_config_yaml


class Followed:
    """What a service shows of the dynamic config that it follows."""

    def __init__(self, control: Control) -> None:
        self.control = control

    def config(self) -> dict[str, Any]:
        return self.control.ask("dynamic-config")

    def variable(self, name: str) -> Any:
        """Return a variable's value and origin."""
        found = self.config()["variables"].get(name, {})
        return found.get("value"), found.get("origin")

    def without(self, name: str) -> Any:
        """Return a variable's value and origin once the config service does not set it."""

        def found() -> Any:
            value, origin = self.variable(name)
            return (value, origin) if not origin.startswith("config service") else None

        return wait_until(found, f"{name} from elsewhere")

    def wait_for(self, name: str, value: object) -> None:
        wait_until(lambda: self.variable(name)[0] == value, f"{name} = {value}")

    def wait_for_failure(self, text: str) -> None:
        wait_until(lambda: text in str(self.config()["update_error"]), f"failed update: {text}")

    def wait_for_success(self) -> None:
        wait_until(lambda: self.config()["update_error"] is None, "an update")


@pytest.fixture
def followed(control: Control) -> Followed:
    return Followed(control)


def of(server: ConfigServer) -> str:
    """Return the origin of the config service's values."""
    return f"config service {server.url}"


# Following


@pytest.mark.covers(
    "ClientOptions.service-name",
    "ClientOptions.config-url",
    "DynamicConfigOptions.updates-enabled",
    "UpdaterOptions.update-interval",
)
def test_the_first_update_is_full_and_there_before_the_workers(
    server: ConfigServer, serve: Serve, followed: Followed
) -> None:
    server.set(USERVER_LOG_REQUEST=False)
    with serve({}) as service:
        assert followed.variable("USERVER_LOG_REQUEST") == (False, of(server))
        assert "generation 2 is applied in 0 workers" in service.stderr()
        wait_until(lambda: len(server.asked) > 1, "another update")
    body = server.asked[0].body
    assert "updated_since" not in body
    assert body["service"] == "chat-service"
    assert {LIMITS, "USERVER_LOG_REQUEST"} <= {*body["ids"]}
    assert "updated_since" in server.asked[-1].body


@pytest.mark.shared_service
def test_changes_come_and_go(
    supervisor: Service, server: ConfigServer, followed: Followed, control: Control
) -> None:
    before = followed.without(LIMITS)
    server.set(MPCHAT_LIMITS={"max_connections": 77})
    followed.wait_for(LIMITS, {"max_connections": 77})
    assert followed.variable(LIMITS)[1] == of(server)
    number = control.status()["generation"]
    assert {worker["generation"] for worker in control.workers()} == {number}
    server.remove(LIMITS)
    assert followed.without(LIMITS) == before
    assert "updated_since" in server.asked[-1].body


@pytest.mark.shared_service
def test_unknown_variables_are_kept_and_cached(
    supervisor: Service, server: ConfigServer, followed: Followed, cache: Path
) -> None:
    server.behave = _with(server, configs={"SOMEBODY_ELSES": [1]})
    followed.wait_for("SOMEBODY_ELSES", [1])
    wait_until(lambda: _read(cache).get("SOMEBODY_ELSES") == [1], "the cache file")
    assert LIMITS in _read(cache)


@pytest.mark.shared_service
def test_one_variable_that_does_not_parse_refuses_the_whole_update(
    supervisor: Service, server: ConfigServer, followed: Followed, cache: Path, control: Control
) -> None:
    server.set(MPCHAT_LIMITS={"max_connections": 70})
    followed.wait_for(LIMITS, {"max_connections": 70})
    wait_until(lambda: _read(cache).get(LIMITS) == {"max_connections": 70}, "the cache file")
    generation, held = control.status()["generation"], server.time
    server.set(MPCHAT_LIMITS={"max_connections": 71}, USERVER_LOG_REQUEST="yes")
    followed.wait_for_failure("USERVER_LOG_REQUEST: expected true or false, got 'yes'")
    server.asked.clear()
    wait_until(lambda: len(server.asked) > 2, "more requests")
    assert {asked.body["updated_since"] for asked in server.asked} == {held}
    assert followed.variable(LIMITS)[0] == {"max_connections": 70}
    assert control.status()["generation"] == generation
    assert _read(cache)[LIMITS] == {"max_connections": 70}
    warnings = [line for line in supervisor.stderr().splitlines() if "no update from" in line]
    assert len(warnings) == 1
    assert "was not reloaded" not in supervisor.stderr()
    server.set(USERVER_LOG_REQUEST=False)
    followed.wait_for(LIMITS, {"max_connections": 71})
    followed.wait_for_success()


@pytest.mark.shared_service
def test_a_kill_switch_brings_the_static_default_back(
    supervisor: Service, server: ConfigServer, followed: Followed
) -> None:
    before = followed.without(LIMITS)
    server.set(MPCHAT_LIMITS={"max_connections": 72})
    followed.wait_for(LIMITS, {"max_connections": 72})
    server.behave = _with(server, kill_switches_disabled=[LIMITS])
    assert followed.without(LIMITS) == before
    server.behave = server.follow
    server.set(MPCHAT_LIMITS={"max_connections": 73})
    followed.wait_for(LIMITS, {"max_connections": 73})


@pytest.mark.shared_service
def test_a_console_that_dies_loses_nothing(
    supervisor: Service, server: ConfigServer, followed: Followed, control: Control
) -> None:
    server.set(MPCHAT_LIMITS={"max_connections": 74})
    followed.wait_for(LIMITS, {"max_connections": 74})
    server.asked.clear()
    pid = console_pid(supervisor)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: supervisor.pids("console") not in ([], [pid]), "another console")
    assert followed.variable(LIMITS)[0] == {"max_connections": 74}
    wait_until(lambda: any("updated_since" not in a.body for a in server.asked), "a full update")
    server.set(MPCHAT_LIMITS={"max_connections": 75})
    followed.wait_for(LIMITS, {"max_connections": 75})


# Servers that lie, stall, cut and die


def _with(server: ConfigServer, configs: dict[str, Any] | None = None, **fields: Any) -> Any:
    """Answer as before, with these fields instead, and these values as well."""

    def behave(asked: Asked) -> Reply:
        found = json.loads(server.follow(asked).body)  # type: ignore[arg-type]
        found["configs"] |= configs or {}
        return answer(**{**found, **fields})

    return behave


def _read(path: Path) -> Any:
    return json.loads(path.read_text()) if path.exists() else {}


LIES = {
    "not json": (Reply(b"<html>"), "the answer is not JSON: Expecting value at line 1"),
    "no object": (Reply(b"[]"), "the answer: expected an object, got []"),
    "no configs": (answer(updated_at="9"), "configs: expected an object of variables, got null"),
    "no time": (answer(configs={}), "updated_at: expected a string, got null"),
    "bad names": (
        answer(configs={}, updated_at="9", removed=[1]),
        "removed[0]: expected a name, got 1",
    ),
    "unknown kill switch": (
        answer(configs={}, updated_at="9", kill_switches_disabled=["ELSEWHERE"]),
        "expected variables that have a static default here",
    ),
    "deep": (Reply(b"[" * 100_000), "the answer is nested too deeply"),
    "error": (Reply(status=500), "it answers with status 500"),
    "refused": (Reply(status=404), "it answers with status 404"),
    "cut": (Reply(b"{", missing=10), "the connection failed: "),
    "another host": (
        Reply(status=301, headers={"Location": "http://localhost:1/"}),
        "'http://localhost': only the same host is followed",
    ),
    "a circle": (
        Reply(status=302, headers={"Location": "/configs/values"}),
        "it redirects more than 10 times",
    ),
    "endless": (
        Reply(itertools.repeat(b" " * 65536)),
        "the answer is larger than max-answer-size, 16777216 bytes",
    ),
}


@pytest.mark.shared_service
@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_lies_changes_nothing(
    supervisor: Service, server: ConfigServer, followed: Followed, control: Control, lie: str
) -> None:
    limits = {"max_connections": 200 + [*LIES].index(lie)}
    server.set(MPCHAT_LIMITS=limits)
    followed.wait_for(LIMITS, limits)
    followed.wait_for_success()
    generation = control.status()["generation"]
    reply, reason = LIES[lie]
    server.behave = lambda _asked: reply
    followed.wait_for_failure(reason)
    assert control.status()["generation"] == generation
    server.behave = server.follow
    followed.wait_for_success()
    assert followed.variable(LIMITS)[0] == limits


@pytest.mark.shared_service
def test_a_time_that_runs_backwards_is_dropped(
    supervisor: Service, server: ConfigServer, followed: Followed
) -> None:
    server.set(MPCHAT_LIMITS={"max_connections": 78})
    followed.wait_for(LIMITS, {"max_connections": 78})
    server.behave = _with(server, configs={LIMITS: {"max_connections": 1}}, updated_at="")
    server.asked.clear()
    wait_until(lambda: len(server.asked) > 2, "more requests")
    assert followed.config()["update_error"] is None
    assert followed.variable(LIMITS)[0] == {"max_connections": 78}


@pytest.mark.shared_service
def test_a_server_that_dies_is_followed_again(
    supervisor: Service, server: ConfigServer, followed: Followed
) -> None:
    server.set(MPCHAT_LIMITS={"max_connections": 79})
    followed.wait_for(LIMITS, {"max_connections": 79})
    server.die()
    try:
        followed.wait_for_failure("it cannot be reached: Connection refused")
        assert followed.variable(LIMITS)[0] == {"max_connections": 79}
    finally:
        server.come_back()
    server.set(MPCHAT_LIMITS={"max_connections": 80})
    followed.wait_for(LIMITS, {"max_connections": 80})
    wait_until(lambda: "can be followed again" in supervisor.stderr(), "its end in the log")


@pytest.mark.covers("ClientOptions.http-timeout", "UpdaterOptions.exception-interval")
def test_a_server_that_stalls_is_asked_again_and_both_is_counted(
    server: ConfigServer, serve: Serve, followed: Followed, control: Control
) -> None:
    changes = {
        f"{CLIENT}.http-timeout": "200ms",
        f"{UPDATER}.exception-interval": "10ms",
        "server.listener-monitor": {"port": 0},
        "handler-server-monitor": {"path": "/monitor", "method": "GET"},
    }
    with serve(changes):
        server.behave = lambda _asked: Reply(stalls=True)
        followed.wait_for_failure("no answer within 0.2 s")
        server.behave = server.follow
        server.set(MPCHAT_LIMITS={"max_connections": 81})
        followed.wait_for(LIMITS, {"max_connections": 81})
        followed.wait_for_success()
        _status, text, _headers = ask(port_of(control), "GET", "/monitor?format=json")
    metrics = {
        name: found["value"]
        for name, values in json.loads(text).items()
        if name.startswith("cache.")
        for found in values
        if found["labels"] == {"cache_name": UPDATER}
    }
    assert metrics["cache.full.update.attempts_count"] == 1
    assert metrics["cache.full.update.failures_count"] == 0
    assert metrics["cache.incremental.update.failures_count"] >= 1
    assert metrics["cache.incremental.documents.read_count"] == 1
    assert metrics["cache.current-documents-count"] == 1


# Options


@pytest.mark.covers(
    "ClientOptions.configs-stage",
    "ClientOptions.get-configs-overrides-for-service",
    "ClientOptions.append-path-to-url",
    "UpdaterOptions.load-only-my-values",
)
def test_what_is_asked_follows_the_options(
    serve: Serve, mpchat: Any, service_tmpdir: Path, control: Control, monkeypatch: Any
) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(service_tmpdir / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    monkeypatch.setenv("SSL_CERT_FILE", str(service_tmpdir / "ca.pem"))
    monkeypatch.setenv("CONFIG_TOKEN", "correct-horse")
    with config_server(context) as server:
        server.set(USERVER_LOG_REQUEST=False)
        changes = {
            f"{CLIENT}.token#env": "CONFIG_TOKEN",
            f"{CLIENT}.configs-stage": "testing",
            f"{CLIENT}.get-configs-overrides-for-service": False,
            f"{CLIENT}.append-path-to-url": False,
            f"{CLIENT}.config-url": f"{server.url}/own/path",
            f"{UPDATER}.load-only-my-values": False,
        }
        with serve(changes) as service:
            shown = mpchat("config", "show", "--socket", str(control.path), cwd=service_tmpdir)
            assert f"config-url: {server.url}" in shown.stdout
            assert "correct-horse" not in shown.stdout + service.stderr()
            asked = server.asked[0]
    assert (asked.path, asked.body) == ("/own/path", {"stage_name": "testing"})
    assert asked.headers["authorization"] == "Bearer correct-horse"


@pytest.mark.covers("ClientOptions.load-enabled", "UpdaterOptions.load-enabled")
def test_sections_that_are_off_ask_nobody(server: ConfigServer, serve: Serve) -> None:
    with serve({f"{CLIENT}.load-enabled": False, f"{UPDATER}.load-enabled": False}) as service:
        assert service.pids("console") == []
    assert server.asked == []


@pytest.mark.covers("UpdaterOptions.updates-enabled")
def test_nobody_is_asked_without_updates(server: ConfigServer, serve: Serve) -> None:
    with serve({f"{UPDATER}.updates-enabled": False}) as service:
        assert service.pids("console") == []
    assert server.asked == []


# Starts


def test_a_service_without_any_dynamic_config_does_not_start(
    server: ConfigServer, serve: Serve
) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    changes = {f"{CLIENT}.config-url": nowhere, "dynamic-config-fallbacks": None}
    with pytest.raises(ServiceFailed) as caught, serve(changes):
        pass
    assert caught.value.exit_code == 69
    assert "it cannot be reached: Connection refused" in caught.value.stderr
    assert "there is no dynamic config to start with instead" in caught.value.stderr


def test_a_service_starts_with_its_fallback_file(
    server: ConfigServer, serve: Serve, followed: Followed, control: Control
) -> None:
    server.behave = lambda _asked: Reply(status=503)
    with serve({}) as service:
        assert "it answers with status 503" in str(followed.config()["update_error"])
        assert "starting with the dynamic config that is there" in service.stderr()
        server.set(MPCHAT_LIMITS={"max_connections": 82})
        server.behave = server.follow
        followed.wait_for(LIMITS, {"max_connections": 82})
        followed.wait_for_success()


@pytest.mark.covers("DynamicConfigOptions.fs-cache-path")
def test_a_service_starts_with_its_cache(
    server: ConfigServer, serve: Serve, followed: Followed, cache: Path
) -> None:
    server.set(MPCHAT_LIMITS={"max_connections": 83})
    with serve({}):
        wait_until(lambda: _read(cache).get(LIMITS) == {"max_connections": 83}, "a cache")
    server.die()
    with serve({"dynamic-config-fallbacks": None}):
        value, origin = followed.variable(LIMITS)
        assert value == {"max_connections": 83}
        assert origin.startswith(f"cache {cache}")
        server.remove(LIMITS)
        server.come_back()
        # What the service says replaces the cache, and does not lie over it.
        wait_until(lambda: followed.variable(LIMITS)[1] == "default", "the default")


def test_a_cache_that_cannot_be_used_is_said_and_ignored(
    server: ConfigServer, serve: Serve, followed: Followed, cache: Path
) -> None:
    cache.parent.mkdir()
    cache.write_text('{"USERVER_LOG_REQUEST": "yes"}')
    server.behave = lambda _asked: Reply(status=503)
    with serve({}) as service:
        assert "no cache of the config service is used" in service.stderr()
        assert followed.variable("USERVER_LOG_REQUEST")[0] is True
