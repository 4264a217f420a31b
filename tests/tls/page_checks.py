"""docs/tls.md by the programs that it names, openssl and curl: part of `make tls-test`."""

from __future__ import annotations

import shlex
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from websockets.sync.client import connect

from mpchat.testsuite.service import Service
from tests.docs.pages import ROOT, blocks
from tests.docs.test_blocks import code, merge

PAGE = (ROOT / "docs" / "tls.md").read_text()
(AUTHORITY,) = [
    block.text
    for block in blocks(PAGE)
    if block.language == "sh" and block.text.startswith("openssl")
]
(OPTIONS,) = [
    yaml.safe_load(block.text)
    for block in blocks(PAGE)
    if block.language == "yaml" and "ca: [ca.crt]" in block.text and "monitor" not in block.text
]
(CURL,) = [block.text for block in code() if block.text.startswith("curl --cacert")]
(GREETER,) = [block.text for block in blocks(PAGE) if block.language == "python"]
LIST = """
from mpchat import Ping, minimal_server_component_list

components = minimal_server_component_list().append(Ping).append(Greeter)
"""
NAME = "chat.internal"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the page's commands have made, and a config with the page's options."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["sh", "-euc", AUTHORITY], cwd=folder, check=True, capture_output=True)
    config = yaml.safe_load((ROOT / "static_config.yaml").read_text())
    components = config["components_manager"]["components"]
    merge(components, OPTIONS)
    components["server"]["listener"]["port"] = 0
    components["server"]["control-socket"] = str(folder / "control.sock")
    (folder / "static_config.yaml").write_text(yaml.safe_dump(config))
    (folder / "dynamic_config_fallback.json").write_text("{}")
    (folder / "greeter.py").write_text(GREETER + LIST)
    return folder


@pytest.fixture(scope="module")
def service(made: Path) -> Iterator[Service]:
    command = [sys.executable, "-m", "mpchat", "serve", "-c", "static_config.yaml"]
    service = Service([*command, "--app", "greeter:components"], made)
    try:
        service.wait_ready()
        yield service
    finally:
        service.close()


def curl(service: Service, made: Path, *left_out: str) -> subprocess.CompletedProcess[str]:
    """Run the page's command, without some of its options."""
    words = shlex.split(CURL.replace(":8443", f":{service.port}"))
    for option in left_out:
        at = words.index(option)
        del words[at : at + 2]
    more = (
        "--resolve",
        f"{NAME}:{service.port}:127.0.0.1",
        "--silent",
        "--show-error",
        "--include",
    )
    return subprocess.run(
        [*words, *more], cwd=made, capture_output=True, text=True, check=False, timeout=60
    )


def test_the_authoritys_certificates_are_valid(made: Path) -> None:
    command = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.crt"]
    for purpose, name in (("sslserver", "chat.crt"), ("sslclient", "ada.crt")):
        subprocess.run([*command, "-purpose", purpose, name], cwd=made, check=True)


def test_a_client_with_its_certificate_is_served(service: Service, made: Path) -> None:
    answer = curl(service, made)
    assert answer.stdout.startswith("HTTP/1.1 200 OK"), answer.stderr


def test_a_client_without_one_and_one_that_does_not_know_the_authority_are_not(
    service: Service, made: Path
) -> None:
    assert "certificate required" in curl(service, made, "--cert", "--key").stderr
    assert "certificate problem" in curl(service, made, "--cacert").stderr


def test_a_handler_knows_who_it_is(service: Service, made: Path) -> None:
    context = ssl.create_default_context(cafile=made / "ca.crt")
    context.load_cert_chain(made / "ada.crt", made / "ada.key")
    with connect(f"wss://localhost:{service.port}/chat", ssl=context) as chat:
        assert chat.recv(10) == "hello ada"


def test_openssl_says_that_all_is_well(service: Service, made: Path) -> None:
    command = ["openssl", "s_client", "-connect", f"localhost:{service.port}", "-CAfile", "ca.crt"]
    more = ["-cert", "ada.crt", "-key", "ada.key", "-verify_hostname", NAME]
    shown = subprocess.run(
        [*command, *more], cwd=made, input="", capture_output=True, text=True, check=False
    )
    assert "Verify return code: 0 (ok)" in shown.stdout
    assert "Verify return code: 0 (ok)" in PAGE
