"""The proxies of docs/proxies.md: each runs the configuration of deploy/, or that the page prints.

Rules. Of this text only addresses, files and times are replaced, and each of them has to be there. What a
test changes besides is what the page mentions: another way, or a mistake. No proxy needs root, a fixed
port or a folder of its package. What is not installed is an error with its name, never a skip.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from websockets.asyncio.client import connect
from websockets.typing import Origin

from mpchat.testsuite.service import wait_until
from tests.docs.pages import ROOT, blocks

HOST = "chat.example.com"
HOSTS = ("10.0.0.11:8080", "10.0.0.12:8080")
"""With mpchat, in the files of deploy/"""
CLIENT = "127.0.0.2"
"""The address of clients; that of proxies is 127.0.0.1."""
COOKIE = {"Cookie": "session=1"}
IDLE_LIMIT = "1s"
"""What the proxies get in place of the page's 60 s."""

# The certificates are of the tests' own making.
_TLS = ssl.create_default_context()
_TLS.check_hostname = False
_TLS.verify_mode = ssl.CERT_NONE


class Proxy(ABC):
    """One real proxy on a free port of the loopback, from its start to its end."""

    language = ""
    """Of the page's block, and the name of the command"""
    hosts: Sequence[str] = ()
    """What the configuration has for hosts with mpchat"""

    def __init__(
        self, folder: Path, upstreams: Sequence[int], other: Mapping[str, str] | None = None
    ) -> None:
        """Write the configuration for mpchat on these ports; ``other`` replaces text of it.

        A single port stands for each of the hosts.
        """
        # Users who are not root have no /usr/sbin in their PATH.
        program = shutil.which(self.language, path=f"{os.environ['PATH']}:/usr/sbin")
        if program is None:
            raise RuntimeError(f"not installed: {self.language} (.ci/run installs it)")
        self.program = program
        self.port = free_port()
        self.folder = folder
        ports = [*upstreams] * len(self.hosts) if len(upstreams) == 1 else upstreams
        changes = {
            **{host: f"127.0.0.1:{port}" for host, port in zip(self.hosts, ports, strict=True)},
            **self.changes(),
            **(other or {}),
        }
        self.config = folder / "config"
        self.config.write_text(self.frame(_replaced(self.text(), changes)))
        # Caddy keeps things at home.
        homes = ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
        environment = {**os.environ, **dict.fromkeys(homes, str(folder))}
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self.command(),
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @abstractmethod
    def text(self) -> str:
        """Return the configuration as it is published."""

    @abstractmethod
    def changes(self) -> dict[str, str]:
        """Return what stands for its port, files and times."""

    def frame(self, block: str) -> str:
        """Return the whole configuration, by default the block alone."""
        return block

    @abstractmethod
    def command(self) -> list[str]:
        """Return what keeps the proxy in the foreground."""

    @abstractmethod
    def reload(self) -> None:
        """Have it load its configuration anew, and return when it has."""

    def wait_ready(self) -> None:
        """Wait until mpchat answers a request by the proxy."""
        self.wait_for_status(200)

    def wait_for_status(self, status: int) -> None:
        """Wait until a request gets an answer with this status.

        Raises:
            RuntimeError: The proxy has ended; says what it wrote.
        """
        wait_until(lambda: self._status() == status, f"{status} from {self.language}")

    def get(self, path: str, *fields: str) -> str:
        """Return the answer to a plain request, with its headers."""
        lines = (f"GET {path} HTTP/1.1", f"Host: {HOST}:{self.port}", "Connection: close", *fields)
        with (
            socket.create_connection(("127.0.0.1", self.port), 30, (CLIENT, 0)) as plain,
            _TLS.wrap_socket(plain, server_hostname=HOST) as sock,
        ):
            sock.sendall("".join(f"{line}\r\n" for line in (*lines, "")).encode())
            return b"".join(iter(lambda: sock.recv(65_536), b"")).decode()

    @property
    def page(self) -> str:
        """The origin of a page that this proxy serves."""
        return f"https://{HOST}:{self.port}"

    def browser(self, origin: str | None = None, compression: str | None = None) -> connect:
        """Open a WebSocket with a cookie, as a page does, by default one of this proxy's own."""
        return connect(
            f"wss://{HOST}:{self.port}/chat",
            host="127.0.0.1",
            port=self.port,
            local_addr=(CLIENT, 0),
            ssl=_TLS,
            proxy=None,
            origin=Origin(origin or self.page),
            additional_headers=COOKIE,
            compression=compression,
            ping_interval=None,
            max_size=None,
        )

    def log(self) -> str:
        """Return what the proxy wrote."""
        return self._log.read_text()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)

    def _status(self) -> int | None:
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.language} ended:\n{self.log()}")
        try:
            return int(self.get("/ping").split()[1])
        # It does not listen yet, or has no certificate.
        except (ConnectionError, ssl.SSLError):
            return None

    def _replace_worker(self, number: signal.Signals) -> None:
        """Signal the master, and wait until the old worker, which has connections, and a new one run."""
        self._process.send_signal(number)
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        wait_until(lambda: len(children.read_text().split()) == 2, "second worker")
        self.wait_ready()


class Nginx(Proxy):
    """The nginx of Debian: any of its packages."""

    language = "nginx"
    hosts = HOSTS

    def text(self) -> str:
        return (ROOT / "deploy" / "nginx.conf").read_text()

    def changes(self) -> dict[str, str]:
        certificate = _certificate(self.folder)
        return {
            "443 ssl": f"127.0.0.1:{self.port} ssl",
            "/etc/ssl/chat.crt": str(certificate),
            "/etc/ssl/private/chat.key": str(certificate),
            "timeout 60s": f"timeout {IDLE_LIMIT}",
        }

    def frame(self, block: str) -> str:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = " ".join(f"{kind}_temp_path {kind};" for kind in kinds)
        return (
            "daemon off; pid nginx.pid; error_log stderr notice; events {}\n"
            f"http {{ access_log off; {temporary}\n{block}}}\n"
        )

    def command(self) -> list[str]:
        return [self.program, "-p", str(self.folder), "-c", str(self.config), "-e", "stderr"]

    def reload(self) -> None:
        self._replace_worker(signal.SIGHUP)


class Caddy(Proxy):
    """Caddy, with certificates of an authority of its own."""

    language = "caddy"
    hosts = ("127.0.0.1:8080",)

    def __init__(
        self, folder: Path, upstreams: Sequence[int], other: Mapping[str, str] | None = None
    ) -> None:
        self._admin = f"127.0.0.1:{free_port()}"
        super().__init__(folder, upstreams, other)

    def text(self) -> str:
        return page_block(self.language)

    def changes(self) -> dict[str, str]:
        return {HOST: f"{HOST}:{self.port}"}

    def frame(self, block: str) -> str:
        options = ("local_certs", "skip_install_trust", "auto_https disable_redirects")
        lines = "\n".join((*options, "default_bind 127.0.0.1", f"admin {self._admin}"))
        return f"{{\n{lines}\n}}\n{block}"

    def command(self) -> list[str]:
        return [self.program, "run", "--adapter", "caddyfile", "--config", str(self.config)]

    def reload(self) -> None:
        command = [self.program, "reload", "--force", "--address", self._admin]
        command += ["--adapter", "caddyfile", "--config", str(self.config)]
        subprocess.run(command, check=True, capture_output=True)


class Haproxy(Proxy):
    """HAProxy with a master, as Debian starts it."""

    language = "haproxy"
    hosts = HOSTS

    def text(self) -> str:
        return (ROOT / "deploy" / "haproxy.cfg").read_text()

    def changes(self) -> dict[str, str]:
        return {
            "bind :443": f"bind 127.0.0.1:{self.port}",
            "/etc/haproxy/chat.pem": str(_certificate(self.folder)),
            **{
                f"timeout {name} 60s": f"timeout {name} {IDLE_LIMIT}"
                for name in ("client", "server", "tunnel")
            },
        }

    def command(self) -> list[str]:
        return [self.program, "-W", "-f", str(self.config)]

    def reload(self) -> None:
        self._replace_worker(signal.SIGUSR2)


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def page_block(language: str) -> str:
    """Return the only block of docs/proxies.md in a language."""
    (text,) = page_blocks(language)
    return text


def page_blocks(language: str) -> list[str]:
    """Return the blocks of docs/proxies.md in a language."""
    page = (ROOT / "docs" / "proxies.md").read_text()
    return [block.text for block in blocks(page) if block.language == language]


def _replaced(text: str, changes: Mapping[str, str]) -> str:
    for old, new in changes.items():
        assert old in text, f"the configuration has no {old!r} any more"
        text = text.replace(old, new)
    return text


def _certificate(folder: Path) -> Path:
    """Make a certificate of its own, and return the file that has it and its key."""
    file = folder / "chat.pem"
    command = ["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "1"]
    command += ["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={HOST}"]
    subprocess.run([*command, "-keyout", file, "-out", file], check=True, capture_output=True)
    return file
