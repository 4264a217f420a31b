"""The client, against servers that answer, redirect, stall, lie and are not there."""

from __future__ import annotations

import gzip
import itertools
import json
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from mpchat.config_service.client import Client
from mpchat.config_service.errors import UpdateFailed
from tests.kit.config_server import Asked, ConfigServer, Reply, config_server
from tests.kit.ports import free_port
from tests.unit.config_service.test_options import client as options_of

BODY = b'{"ids": ["A"]}'


@pytest.fixture(scope="module")
def the_server() -> Iterator[ConfigServer]:
    with config_server() as server:
        yield server


@pytest.fixture
def server(the_server: ConfigServer) -> ConfigServer:
    the_server.asked.clear()
    the_server.behave = lambda _asked: Reply(b"fine")
    return the_server


class Waits:
    """Takes the place of sleep."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def client_of(server: ConfigServer, waits: Waits | None = None, **options: Any) -> Client:
    given = {"config_url": server.url, "http_retries": 1, **options}
    return Client(options_of(**given), waits or Waits(), lambda below: below - 1)


async def refusal_of(client: Client) -> str:
    with pytest.raises(UpdateFailed) as caught:
        await client.fetch(BODY)
    text = str(caught.value)
    assert "\n" not in text
    return text


@pytest.mark.covers("ClientOptions.config-url")
async def test_it_posts_and_says_nothing_of_itself(server: ConfigServer) -> None:
    assert await client_of(server, config_url=f"{server.url}/").fetch(BODY) == b"fine"
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.content) == ("POST", "//configs/values", BODY)
    assert "authorization" not in asked.headers


@pytest.mark.covers("ClientOptions.token")
async def test_a_token_goes_into_a_header(server: ConfigServer) -> None:
    await client_of(server, token="c0rrect-horse").fetch(BODY)
    assert server.asked[0].headers["authorization"] == "Bearer c0rrect-horse"


async def test_the_type_of_an_answer_does_not_matter(server: ConfigServer) -> None:
    server.behave = lambda _asked: Reply(b"{}", headers={"Content-Type": "image/png"})
    assert await client_of(server).fetch(BODY) == b"{}"


@pytest.mark.covers("ClientOptions.http-retries")
@pytest.mark.parametrize(
    ("status", "attempts"), [(500, 3), (503, 3), (400, 1), (404, 1), (429, 1), (304, 1)]
)
async def test_what_a_server_refuses(server: ConfigServer, status: int, attempts: int) -> None:
    server.behave = lambda _asked: Reply(status=status)
    waits = Waits()
    text = await refusal_of(client_of(server, waits, http_retries=3))
    assert text == f"it answers with status {status}"
    assert len(server.asked) == attempts
    assert waits.seconds == [0.025, 0.05][: attempts - 1]


async def test_no_retries_are_one_attempt(server: ConfigServer) -> None:
    server.behave = lambda _asked: Reply(status=500)
    await refusal_of(client_of(server, http_retries=0))
    assert len(server.asked) == 1


async def test_a_later_attempt_may_succeed(server: ConfigServer) -> None:
    replies = iter([Reply(status=502), Reply(b"cut", missing=10), Reply(b"fine")])
    server.behave = lambda _asked: next(replies)
    assert await client_of(server, http_retries=5).fetch(BODY) == b"fine"


async def test_nobody_is_there() -> None:
    waits = Waits()
    options = options_of(config_url=f"http://127.0.0.1:{free_port()}", http_retries=2)
    client = Client(options, waits, lambda below: below - 1)
    assert await refusal_of(client) == "it cannot be reached: Connection refused"
    assert len(waits.seconds) == 1


async def test_there_is_no_such_host() -> None:
    client = Client(options_of(config_url="http://nobody.invalid"), Waits(), lambda below: 0)
    assert "cannot be reached" in await refusal_of(client)


@pytest.mark.covers("ClientOptions.http-timeout")
async def test_a_server_that_stalls_is_left(server: ConfigServer) -> None:
    server.behave = lambda _asked: Reply(stalls=True)
    client = client_of(server, http_timeout="50ms", http_retries=2)
    assert await refusal_of(client) == "no answer within 0.05 s"
    assert len(server.asked) == 2


async def test_an_answer_that_trickles_ends_with_the_timeout(server: ConfigServer) -> None:
    def trickle() -> Iterator[bytes]:
        while True:
            yield b" "
            server._ended.wait(0.01)

    server.behave = lambda _asked: Reply(trickle())
    client = client_of(server, http_timeout="100ms")
    assert await refusal_of(client) == "no answer within 0.1 s"


async def test_a_connection_that_is_cut(server: ConfigServer) -> None:
    server.behave = lambda _asked: Reply(b"{", missing=1)
    assert (await refusal_of(client_of(server))).startswith("the connection failed: ")


async def test_an_answer_that_is_not_http(server: ConfigServer) -> None:
    server.behave = lambda _asked: Reply(b"x", headers={"Content-Length": "many"})
    assert (await refusal_of(client_of(server))).startswith("the connection failed: ")


@pytest.mark.covers("ClientOptions.max-answer-size")
async def test_an_answer_has_a_limit(server: ConfigServer) -> None:
    server.behave = lambda _asked: Reply(b"x" * 1000)
    assert await client_of(server, max_answer_size=1000).fetch(BODY)
    text = "the answer is larger than max-answer-size, 999 bytes"
    assert await refusal_of(client_of(server, max_answer_size=999, http_retries=9)) == text
    assert len(server.asked) == 2


async def test_an_endless_answer_is_not_read_to_its_end(server: ConfigServer) -> None:
    server.behave = lambda _asked: Reply(itertools.repeat(b"x" * 10_000))
    assert "larger than max-answer-size" in await refusal_of(client_of(server))


async def test_what_is_packed_counts_unpacked(server: ConfigServer) -> None:
    packed = gzip.compress(b'"' + b"x" * 20_000_000 + b'"')
    assert len(packed) < 30_000
    server.behave = lambda _asked: Reply(packed, headers={"Content-Encoding": "gzip"})
    assert "larger than max-answer-size" in await refusal_of(client_of(server))
    fetched = await client_of(server, max_answer_size=20_000_002).fetch(BODY)
    assert len(json.loads(fetched)) == 20_000_000


@pytest.mark.parametrize(
    ("status", "method"),
    [(301, "POST"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")],
)
async def test_redirects_on_the_same_host_are_followed(
    server: ConfigServer, status: int, method: str
) -> None:
    def behave(asked: Asked) -> Reply:
        if asked.path == "/there":
            return Reply(b"fine")
        return Reply(status=status, headers={"Location": "/there"})

    server.behave = behave
    assert await client_of(server).fetch(BODY) == b"fine"
    assert server.asked[1].method == method
    assert server.asked[1].content == (BODY if method == "POST" else b"")


@pytest.mark.parametrize("redirects", [10, 11])
async def test_redirects_are_followed_ten_times(server: ConfigServer, redirects: int) -> None:
    def behave(_asked: Asked) -> Reply:
        if len(server.asked) > redirects:
            return Reply(b"fine")
        return Reply(status=302, headers={"Location": f"/{len(server.asked)}"})

    server.behave = behave
    if redirects == 10:
        assert await client_of(server).fetch(BODY) == b"fine"
    else:
        text = "it redirects more than 10 times"
        assert await refusal_of(client_of(server, http_retries=5)) == text
        assert len(server.asked) == 11


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://localhost:{port}/", "'http://localhost': only the same host is followed"),
        ("//localhost:{port}/", "'http://localhost': only the same host is followed"),
        ("http://127.0.0.1.example/", "'http://127.0.0.1.example': only the same"),
        ("http://127.0.0.1@elsewhere/", "'http://elsewhere': only the same host is followed"),
        ("ftp://127.0.0.1/", "'ftp://127.0.0.1': only the same host is followed"),
        ("http://[::1", "it redirects to nowhere"),
        ("", "it redirects to nowhere"),
        (None, "it redirects to nowhere"),
    ],
)
async def test_redirects_to_elsewhere_are_refused(
    server: ConfigServer, location: str | None, reason: str
) -> None:
    headers = {} if location is None else {"Location": location.format(port=server.port)}
    server.behave = lambda _asked: Reply(status=307, headers=headers)
    assert reason in await refusal_of(client_of(server, http_retries=5, token="secret"))
    assert len(server.asked) == 1


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def secure(authority: trustme.CA) -> Iterator[ConfigServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with config_server(context) as server:
        yield server


async def test_the_systems_certificates_are_trusted(
    secure: ConfigServer,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    secure.behave = lambda _asked: Reply(b"fine")
    assert await client_of(secure).fetch(BODY) == b"fine"
    down = {"Location": f"http://127.0.0.1:{secure.port}/"}
    secure.behave = lambda _asked: Reply(status=307, headers=down)
    assert "only the same host" in await refusal_of(client_of(secure))


async def test_no_other_certificate_is(secure: ConfigServer) -> None:
    secure.asked.clear()
    text = await refusal_of(client_of(secure, token="secret"))
    assert text.startswith("its certificate is not trusted: unable to get local issuer certificate")
    assert not secure.asked


async def test_a_server_may_not_speak_tls(server: ConfigServer) -> None:
    client = client_of(server, config_url=server.url.replace("http:", "https:"))
    assert (await refusal_of(client)).startswith("the connection failed: Cannot connect to host")
    assert not server.asked
