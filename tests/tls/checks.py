"""The service's TLS as the world's tools see it: `make tls-test`.

Not named as tests are, so that `make test` leaves it out: it needs Debian's openssl, curl, sslscan and
chromium. What is not installed is an error with its name, never a skip.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Error

from mpchat.testsuite.service import Service, wait_until
from tests.browser.chat import chromium
from tests.docs.pages import ROOT
from tests.kit.certificates import PASSPHRASE, Certificates, PairFiles, put
from tests.kit.secure import COMMAND, secured
from tests.tls.offer import offer_of, offers_of_page

PATIENCE = 30.0
"""Seconds that a tool may take."""
REQUEST = b"GET /who HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def tool(*command: str | Path, typed: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Run a command of Debian's; return what it says."""
    program = shutil.which(str(command[0]))
    if program is None:
        raise RuntimeError(f"not installed: {command[0]} (.ci/run installs it)")
    result = subprocess.run(
        command, input=typed, capture_output=True, timeout=PATIENCE, check=False
    )
    said = result.stdout.decode(errors="replace"), result.stderr.decode(errors="replace")
    return subprocess.CompletedProcess(command, result.returncode, *said)


def served(folder: Path, certificates: Certificates, /, **options: Any) -> Service:
    """Start a service with two workers and these options of TLS."""
    config = yaml.safe_load((ROOT / "static_config.yaml").read_text())
    secured(config, certificates, folder, **options)
    components = config["components_manager"]["components"]
    components["server"]["listener"]["port"] = 0
    del components["dynamic-config"], components["dynamic-config-fallbacks"]
    (folder / "static_config.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "mpchat", "serve", "-c", "static_config.yaml", *COMMAND]
    return Service(command, folder, {"PASSPHRASE": PASSPHRASE})


@pytest.fixture(scope="module")
def made_by_openssl(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PairFiles]:
    """Pairs in the forms that openssl writes, each for the name of its form."""
    return dict(_made(tmp_path_factory.mktemp("openssl")))


def _made(folder: Path) -> Iterator[tuple[str, PairFiles]]:
    aes = ["-aes256", "-passout", f"pass:{PASSPHRASE}"]
    kinds = {
        # The key in its old form, behind its parameters.
        "sec1.test": ["ecparam", "-name", "prime256v1", "-genkey"],
        "pkcs1.test": ["genrsa", "-traditional", "2048"],
        "pkcs1-encrypted.test": ["genrsa", "-traditional", *aes, "2048"],
        "pkcs8-encrypted.test": ["genpkey", "-algorithm", "ED25519", "-aes256", "-pass", aes[2]],
        "p384.test": ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    }
    for name, command in kinds.items():
        pair = PairFiles(folder / f"{name}.pem", folder / f"{name}.key")
        made = tool("openssl", command[0], "-out", pair.key, *command[1:])
        assert made.returncode == 0, made.stderr
        # With text above, as `openssl x509 -text` writes it.
        made = tool(
            *("openssl", "req", "-x509", "-new", "-key", pair.key, "-passin", f"pass:{PASSPHRASE}"),
            *("-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}"),
            *("-text", "-out", pair.cert),
        )
        assert made.returncode == 0, made.stderr
        yield name, pair


@pytest.fixture(scope="module")
def service(
    certificates: Certificates,
    made_by_openssl: dict[str, PairFiles],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    more = [certificates.issue("rsa.test", kind="RSA").options]
    for name, pair in made_by_openssl.items():
        passphrase = {"private-key-passphrase#env": "PASSPHRASE"} if "encrypted" in name else {}
        more.append({**pair.options, **passphrase})
    with closing(
        served(tmp_path_factory.mktemp("tls"), certificates, certificates=more)
    ) as service:
        service.wait_ready()
        yield service
        assert "Traceback" not in service.stderr()


@pytest.fixture(scope="module")
def for_clients_with_certificates(
    certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("mutual")
    with closing(served(folder, certificates, ca=[str(certificates.ca)])) as service:
        service.wait_ready()
        yield service


# openssl s_client


@pytest.fixture(scope="module")
def s_client(service: Service, certificates: Certificates) -> Any:
    """Run openssl s_client with more arguments: ``s_client("-tls1_2", typed=b"...")``."""

    def run(
        *more: str | Path, typed: bytes = b"", name: str | None = "localhost"
    ) -> subprocess.CompletedProcess[str]:
        names = ["-noservername"] if name is None else ["-servername", name]
        return tool(
            *("openssl", "s_client", "-connect", f"127.0.0.1:{service.port}", *names),
            *("-CAfile", certificates.ca, "-verify_return_error", *more),
            typed=typed,
        )

    return run


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_s_client_is_answered(s_client: Any, version: str) -> None:
    said = s_client(f"-tls{version}", "-alpn", "h2,http/1.1", "-ign_eof", typed=REQUEST)
    assert said.returncode == 0
    assert "Verification: OK" in said.stdout
    assert f"New, TLSv{version.replace('_', '.')}" in said.stdout
    assert "ALPN protocol: http/1.1" in said.stdout
    assert "HTTP/1.1 200 " in said.stdout
    assert "Secure Renegotiation IS" in said.stdout
    # close_notify, and nothing that s_client would call unexpected.
    assert "closed" in said.stdout
    assert "unexpected eof" not in said.stderr


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_each_worker_resumes_a_session_of_another_process(
    s_client: Any, tmp_path: Path, version: str
) -> None:
    kept = tmp_path / "session"
    first = s_client(f"-tls{version}", "-sess_out", kept, "-ign_eof", typed=REQUEST)
    assert "Reused" not in first.stdout
    pids = set()

    def both_have() -> bool:
        again = s_client(f"-tls{version}", "-sess_in", kept, "-ign_eof", typed=REQUEST)
        assert "Reused, TLSv" in again.stdout
        pids.update(re.findall(r'"pid": (\d+)', again.stdout))
        return len(pids) == 2

    wait_until(both_have, "resumption by both workers", interval=0)


def test_no_early_data(s_client: Any) -> None:
    assert "Max Early Data: 0" in s_client("-tls1_3", "-ign_eof", typed=REQUEST).stdout


def test_renegotiation_is_refused(s_client: Any) -> None:
    said = s_client("-tls1_2", typed=b"R\n" + REQUEST)
    assert "RENEGOTIATING" in said.stderr
    assert "no renegotiation" in said.stderr
    assert "HTTP/1.1 " not in said.stdout


def test_a_key_update_is_answered(s_client: Any) -> None:
    said = s_client("-tls1_3", typed=b"K\n")
    assert "KEYUPDATE" in said.stderr + said.stdout
    assert said.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "alert"),
    [
        (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "alert protocol version"),
        (["-tls1", "-cipher", "DEFAULT@SECLEVEL=0"], "alert protocol version"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"], "alert handshake failure"),
        (["-tls1_2", "-cipher", "AES128-SHA@SECLEVEL=0"], "alert handshake failure"),
        (["-tls1_2", "-cipher", "aNULL@SECLEVEL=0"], "alert handshake failure"),
        (["-tls1_2", "-cipher", "DHE@SECLEVEL=0"], "alert handshake failure"),
        (["-tls1_3", "-groups", "ffdhe8192"], "alert handshake failure"),
        (["-tls1_3", "-groups", "ffdhe2048"], "alert handshake failure"),
    ],
)
def test_what_is_not_spoken(s_client: Any, arguments: list[str], alert: str) -> None:
    said = s_client(*arguments)
    assert said.returncode != 0
    assert alert in said.stderr


@pytest.mark.parametrize("group", ["X25519", "P-256", "P-384", "P-521", "X448"])
def test_every_curve(s_client: Any, group: str) -> None:
    assert s_client("-tls1_3", "-groups", group).returncode == 0


def test_each_form_of_a_key_serves_its_name(
    s_client: Any, made_by_openssl: dict[str, PairFiles]
) -> None:
    for name, pair in made_by_openssl.items():
        said = s_client("-CAfile", pair.cert, "-verify_hostname", name, name=name)
        assert said.returncode == 0, said.stderr
        assert f"subject=CN = {name}" in said.stdout
    assert "DNS:localhost" in _text(s_client(name=None).stdout)


def _text(said: str) -> str:
    """Return what openssl says of the certificate that s_client has printed."""
    return tool("openssl", "x509", "-noout", "-text", typed=said.encode()).stdout


def test_a_plain_request_of_s_clients_opposite(service: Service) -> None:
    said = tool("curl", "-sS", f"http://127.0.0.1:{service.port}/ping", "-w", "%{http_code}")
    assert said.returncode == 0
    assert "TLS" in said.stdout
    assert said.stdout.endswith("400")


# curl


def curl(port: int, *more: str | Path, ca: Path) -> subprocess.CompletedProcess[str]:
    return tool("curl", "-sS", "--cacert", ca, *more, f"https://localhost:{port}/who")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl(service: Service, certificates: Certificates, version: str) -> None:
    said = curl(
        service.port,
        *("--http2", f"--tlsv{version}", "--tls-max", version, "-w", "\n%{http_version}"),
        ca=certificates.ca,
    )
    assert said.returncode == 0, said.stderr
    body, http_version = said.stdout.split("\n")
    assert json.loads(body)["certificate"] is None
    assert http_version == "1.1"


def test_curl_asks_twice_on_one_connection(service: Service, certificates: Certificates) -> None:
    url = f"https://localhost:{service.port}/ping"
    said = curl(service.port, "-w", "%{num_connects}\n", url, ca=certificates.ca)
    assert said.returncode == 0
    # A new connection for the first, none for the second.
    assert said.stdout.split("\n")[0][-1] == "1"
    assert said.stdout.split("\n")[1][-1] == "0"


def test_curl_does_not_trust_another_authority(
    service: Service, certificates: Certificates
) -> None:
    said = curl(service.port, ca=certificates.other_ca)
    assert said.returncode == 60
    assert "unable to get local issuer certificate" in said.stderr


def test_curl_sees_that_a_certificate_has_expired(
    certificates: Certificates, tmp_path: Path
) -> None:
    pair = PairFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    put(certificates.ec, pair)
    named = {name.replace("-", "_"): value for name, value in pair.options.items()}
    with closing(served(tmp_path, certificates, **named)) as service:
        service.wait_ready()
        put(certificates.issue(ends=8), pair)
        assert "generation 2" in service.reload()
        assert curl(service.port, ca=certificates.ca).returncode == 0

        def has_expired() -> bool:
            return "certificate has expired" in curl(service.port, ca=certificates.ca).stderr

        wait_until(has_expired, "end of its time", interval=0.1)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_curl_with_a_client_certificate(
    for_clients_with_certificates: Service, certificates: Certificates, version: str
) -> None:
    def by(pair: PairFiles | None) -> subprocess.CompletedProcess[str]:
        client = () if pair is None else ("--cert", pair.cert, "--key", pair.key)
        return curl(
            for_clients_with_certificates.port, "--tls-max", version, *client, ca=certificates.ca
        )

    said = by(certificates.client)
    assert said.returncode == 0, said.stderr
    assert [["commonName", "a client"]] in json.loads(said.stdout)["certificate"]["subject"]
    for pair, alert in (
        (None, "certificate required" if version == "1.3" else "handshake failure"),
        (certificates.strange_client, "unknown ca"),
        # What curl makes of this alert within a handshake.
        (
            certificates.expired_client,
            "certificate expired" if version == "1.3" else "certificate verification failed",
        ),
    ):
        said = by(pair)
        assert said.returncode != 0
        assert alert in said.stderr


# sslscan


@pytest.mark.parametrize("key", ["EC", "RSA"])
def test_what_is_offered_is_the_table_of_the_page(
    service: Service, key: str, tmp_path: Path
) -> None:
    name = {"EC": "localhost", "RSA": "rsa.test"}[key]
    found = tmp_path / "sslscan.xml"
    said = tool(
        "sslscan",
        f"--xml={found}",
        f"--sni-name={name}",
        "--no-colour",
        f"127.0.0.1:{service.port}",
    )
    assert said.returncode == 0, said.stderr
    assert offer_of(found.read_text()) == offers_of_page()[key]


# chromium


def test_a_page_in_a_browser(service: Service) -> None:
    page_url = f"https://localhost:{service.port}/ping"
    echo = """url => new Promise((resolve, reject) => {
        const chat = new WebSocket(url);
        const got = [];
        chat.onopen = () => { chat.send("hello"); chat.send("x".repeat(1 << 20)); };
        chat.onmessage = event => { got.push(event.data.length); if (got.length == 2) chat.close(1000); };
        chat.onclose = event => resolve([...got, event.code, event.wasClean]);
        chat.onerror = () => reject(new Error("refused"));
    })"""
    with chromium() as browser:
        trusting = browser.new_context(ignore_https_errors=True)
        page = trusting.new_page()
        answer = page.goto(page_url)
        assert answer is not None
        assert answer.status == 200
        security = answer.security_details()
        assert security is not None
        assert security["protocol"] == "TLS 1.3"
        url = f"wss://localhost:{service.port}/chat"
        assert page.evaluate(echo, url) == [5, 1 << 20, 1000, True]
        # A page of https may not open a plain one.
        strict = browser.new_context().new_page()
        with pytest.raises(Error, match="ERR_CERT_AUTHORITY_INVALID"):
            strict.goto(page_url)
