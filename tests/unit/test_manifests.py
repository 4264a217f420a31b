"""deploy/compose.yaml and deploy/kubernetes: they fit their schemas, our numbers and each other.

Nothing here runs them: that takes an engine or a cluster. HAProxy's file runs in
tests/proxies/compose_checks.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes_validate import ValidationError, validate

from mpchat.config.files import ConfigFiles
from mpchat.dynamic_config.snapshot import Snapshot
from mpchat.dynamic_config.variables import DRAIN
from mpchat.handlers.lists import default_component_list
from mpchat.supervisor.timing import Timing
from mpchat.template.dynamic import load_dynamic
from mpchat.template.loading import Sources, load_service
from mpchat.worker.service import Service
from tests.docs.pages import ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
KUBERNETES = [DEPLOY / "kubernetes" / f"{name}.yaml" for name in ("deployment", "service")]
# From the first in which preStop.sleep is stable to the newest of the validator.
VERSIONS = ["1.34", "1.35", "1.36", "1.37"]
HAPROXY = (DEPLOY / "compose" / "haproxy.cfg").read_text()
BIN = Path(sys.executable).parent


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def sections() -> dict[str, Any]:
    """Return the sections of the compose file's config, by component."""
    config = read(DEPLOY / "compose" / "static_config.yaml")
    found: dict[str, Any] = config["components_manager"]["components"]
    return found


def container() -> dict[str, Any]:
    (found,) = pod()["containers"]
    assert isinstance(found, dict)
    return found


def pod() -> dict[str, Any]:
    found: dict[str, Any] = read(KUBERNETES[0])["spec"]["template"]["spec"]
    return found


def chats() -> dict[str, Any]:
    return {k: v for k, v in read(COMPOSE)["services"].items() if k.startswith("chat")}


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    """What the service of the compose file has loaded."""
    monkeypatch.setenv("NATS_PASSWORD", "a-password")
    path = DEPLOY / "compose" / "static_config.yaml"
    return load_service(ConfigFiles(str(path)), default_component_list(), Sources())


@pytest.fixture
def stop(service: Service) -> list[float]:
    """Seconds of a stop as the comments add them up.

    Lame duck, deadline, until SIGKILL, and the end of the other processes: of the monitor by itself,
    of all when they are killed, of orphans.
    """
    drain = Snapshot(0, load_dynamic(service).values, service.keys)[DRAIN]
    timing = Timing()
    lameduck, deadline = drain.lameduck_ms / 1000, drain.deadline_ms / 1000
    return [lameduck, deadline, timing.stop_grace, *[timing.now_limit] * 3]


def in_words(before: list[float], stop: list[float]) -> str:
    *terms, last, _, _ = [*before, *stop]
    text = " + ".join(f"{term:g}" for term in terms)
    return f"{text} + 3 * {last:g} = {sum([*before, *stop]):g} s"


def check_compose(path: Path) -> subprocess.CompletedProcess[str]:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_compose_fits_the_specification() -> None:
    done = check_compose(COMPOSE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_mistake_in_compose_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("stop_grace_period:", "stop_grace:", 1))
    done = check_compose(wrong)
    assert done.returncode == 1
    assert "'stop_grace' was unexpected" in done.stdout


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", KUBERNETES, ids=lambda path: path.stem)
def test_manifests_fit_the_schemas_of_kubernetes(path: Path, version: str) -> None:
    (manifest,) = yaml.safe_load_all(path.read_text())
    assert validate(manifest, version, strict=True) == version


def test_a_mistake_in_a_manifest_is_found() -> None:
    manifest = read(KUBERNETES[0])
    manifest["spec"]["template"]["spec"]["terminationGracePeriod"] = 25
    with pytest.raises(ValidationError, match="'terminationGracePeriod' was unexpected"):
        validate(manifest, VERSIONS[-1], strict=True)


def test_compose_waits_for_the_longest_stop(stop: list[float]) -> None:
    services = read(COMPOSE)["services"]
    for service in (*chats().values(), services["haproxy"]):
        assert seconds(service["stop_grace_period"]) > sum(stop)
    assert in_words([], stop) in COMPOSE.read_text()
    grace = seconds(chats()["chat1"]["stop_grace_period"])
    assert f"`stop_grace_period` is {grace} s" in (ROOT / "docs" / "docker.md").read_text()


def test_kubernetes_waits_for_pre_stop_and_the_longest_stop(stop: list[float]) -> None:
    before = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod()["terminationGracePeriodSeconds"] > before + sum(stop)
    assert in_words([before], stop) in KUBERNETES[0].read_text()


def test_the_page_tells_the_same_times_of_a_pod(stop: list[float]) -> None:
    before = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    lameduck, deadline, killed = (before + sum(stop[:count]) for count in (1, 2, 3))
    end = before + sum(stop)
    limit = pod()["terminationGracePeriodSeconds"]
    page = (ROOT / "docs" / "kubernetes.md").read_text()
    times = re.findall(r"^\| ((?:to )?\d[^|]*) \|", page, re.M)
    assert times == [
        f"0 to {before}",
        f"{before}",
        f"{before} to {lameduck:g}",
        f"{lameduck:g} to {deadline:g}",
        f"to {killed:g}",
        f"to {end:g}",
        f"{limit}",
    ]


def test_haproxy_sees_a_lame_duck_before_its_port_closes(stop: list[float]) -> None:
    found = re.search(r"check inter (\d+)ms fall (\d+)", HAPROXY)
    assert found is not None
    # It may have asked just before, and the last answer takes its time.
    assert int(found[1]) * (int(found[2]) + 1) / 1000 < stop[0]


def test_haproxy_lets_quiet_connections_live_until_the_service_ends_them(service: Service) -> None:
    (options,) = (p.options for p in service.components if p.cls.name == "room-handler")
    limits = [
        seconds(found) for found in re.findall(r"timeout (?:client|server|tunnel) (\w+)", HAPROXY)
    ]
    assert len(limits) == 3
    assert min(limits) > options.ping_interval + options.ping_timeout > options.heartbeat


def test_haproxy_knows_every_service() -> None:
    port = sections()["server"]["listener"]["port"]
    servers = dict(re.findall(r"^    server (\w+) (\S+)$", HAPROXY, re.M))
    assert servers == {name: f"{name}:{port}" for name in chats()}
    assert len(servers) == 3
    assert f"option httpchk GET {sections()['handler-ping']['path']}\n" in HAPROXY


def test_the_services_are_the_same_but_for_their_names() -> None:
    first, *others = chats().values()
    assert others == [first, first]


def test_files_that_compose_names_are_there_and_used() -> None:
    compose = read(COMPOSE)
    used = {c["source"] for s in compose["services"].values() for c in s.get("configs", ())}
    assert used == set(compose["configs"])
    files = {DEPLOY / config["file"] for config in compose["configs"].values()}
    assert files == set((DEPLOY / "compose").iterdir())


def test_the_probe_asks_the_ping_of_the_config() -> None:
    assert container()["readinessProbe"]["httpGet"]["path"] == sections()["handler-ping"]["path"]
    (port,) = container()["ports"]
    assert port["containerPort"] == sections()["server"]["listener"]["port"]
    (exposed,) = read(KUBERNETES[1])["spec"]["ports"]
    assert exposed["targetPort"] == container()["readinessProbe"]["httpGet"]["port"] == port["name"]


def test_the_service_selects_the_pods() -> None:
    deployment = read(KUBERNETES[0])["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert read(KUBERNETES[1])["spec"]["selector"] == labels


def test_both_give_the_user_of_the_image_its_runtime_folder() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    user, group = map(int, re.findall(r"^USER (\d+):(\d+)$", dockerfile, re.M)[0])
    (folder,) = re.findall(r"RUNTIME_DIRECTORY=(\S+)", dockerfile)
    for service in chats().values():
        assert service["tmpfs"] == [f"{folder}:uid={user},gid={group},mode=0700"]
    context = pod()["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)
    (mount,) = container()["volumeMounts"]
    assert mount["mountPath"] == folder
    assert [volume["name"] for volume in pod()["volumes"]] == [mount["name"]]


def test_the_password_comes_from_the_environment_everywhere() -> None:
    name = sections()["rooms"]["nats"]["password#env"]
    assert "password" not in sections()["rooms"]["nats"]
    services = read(COMPOSE)["services"]
    for service in (*chats().values(), services["nats"]):
        assert service["environment"][name].startswith(f"${{{name}:?")
    assert f"password: ${name}\n" in (DEPLOY / "compose" / "nats.conf").read_text()
    (variable,) = container()["env"]
    assert variable["name"] == name
    assert set(variable["valueFrom"]) == {"secretKeyRef"}


def test_nats_takes_its_file_and_knows_the_user() -> None:
    path = DEPLOY / "compose" / "nats.conf"
    command = [str(BIN / "nats-server"), "-t", "-c", str(path)]
    done = subprocess.run(
        command, env={"NATS_PASSWORD": "p0"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"user: {sections()['rooms']['nats']['user']}\n" in path.read_text()


def seconds(text: str) -> int:
    assert text.endswith("s")
    return int(text.removesuffix("s"))
