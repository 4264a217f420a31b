"""The page and the login, through the guard."""

from __future__ import annotations

import asyncio
import re
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import DummyCookieJar, web
from aiohttp.test_utils import TestClient, TestServer

from mpchat.console.guard import Guard, add_headers
from mpchat.console.options import LOGIN
from mpchat.console.page import pages
from mpchat.console.page.pages import Login, Page, policy_of
from mpchat.tls.settings import server_context
from tests.kit.certificates import DAY, Certificates

TOKEN = "a secret of an operator"
HTML = {"Accept": "text/html,application/xhtml+xml"}
FOLDER = Path(pages.__file__).parent


@asynccontextmanager
async def guarded(
    token: str | None, tls: ssl.SSLContext | None = None, **more: Any
) -> AsyncIterator[TestClient[web.Request, web.Application]]:
    """Serve the page and the login behind a guard."""
    login = Page("login.html")
    guard = Guard(token, (), unix=False, ask=lambda: login.response(401), **more)
    app = web.Application(middlewares=[guard.middleware()])
    app.on_response_prepare.append(add_headers)
    app.router.add_get("/", Page("index.html").handle)
    app.router.add_post(LOGIN, Login(guard, login, delay=0).handle)
    server = TestServer(app, scheme="http" if tls is None else "https")
    await server.start_server(ssl=tls)
    async with TestClient(server, cookie_jar=DummyCookieJar()) as client:
        yield client


async def test_without_a_token_the_page_is_there_for_all() -> None:
    async with guarded(None) as client:
        answer = await client.get("/", headers=HTML)
        assert answer.status == 200
        assert answer.content_type == "text/html"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "unsafe" not in answer.headers["Content-Security-Policy"]


async def test_somebody_logs_in() -> None:
    async with guarded(TOKEN) as client:
        form = await client.get("/", headers=HTML)
        assert form.status == 401
        assert form.headers["WWW-Authenticate"].startswith("Bearer")
        assert 'action="/login"' in await form.text()
        wrong = await client.post(LOGIN, data={"token": TOKEN + "x"}, allow_redirects=False)
        assert wrong.status == 401
        assert "That is not this console's token." in await wrong.text()
        assert not wrong.cookies
        right = await client.post(LOGIN, data={"token": TOKEN}, allow_redirects=False)
        assert (right.status, right.headers["Location"]) == (303, "/")
        (cookie,) = right.cookies.values()
        assert (cookie["httponly"], cookie["samesite"]) == (True, "Strict")
        assert TOKEN not in cookie.value
        page = await client.get("/", headers={**HTML, "Cookie": f"{cookie.key}={cookie.value}"})
        assert page.status == 200
        assert "Busiest" in await page.text()
        stale = await client.get(
            "/", headers={**HTML, "Cookie": f"{cookie.key}=0{cookie.value[1:]}x"}
        )
        assert stale.status == 401


@pytest.fixture
def both_ends() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The console's end of TLS, and that of a browser that trusts it."""
    ca = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    ca.issue_cert("127.0.0.1").configure_cert(server)
    ca.configure_trust(client)
    return server, client


async def test_over_tls_the_cookie_is_for_tls_only(
    both_ends: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def cookies(client: TestClient[web.Request, web.Application], **more: Any) -> list[Any]:
        answer = await client.post(LOGIN, data={"token": TOKEN}, allow_redirects=False, **more)
        assert answer.status == 303
        return [cookie["secure"] for cookie in answer.cookies.values()]

    server, browser = both_ends
    async with guarded(TOKEN, server) as client:
        assert await cookies(client, ssl=browser) == [True]
    async with guarded(TOKEN) as client:
        assert await cookies(client) == [""]


@pytest.mark.parametrize(("scheme", "status"), [("https", 200), ("http", 403)])
async def test_over_tls_a_page_without_it_is_of_another_origin(
    both_ends: tuple[ssl.SSLContext, ssl.SSLContext], scheme: str, status: int
) -> None:
    server, browser = both_ends
    async with guarded(None, server) as client:
        origin = {"Origin": f"{scheme}://{client.host}:{client.port}"}
        assert (await client.get("/", headers=origin, ssl=browser)).status == status


async def test_a_certificate_that_expires_is_worth_nothing_on_an_open_connection(
    certificates: Certificates,
) -> None:
    server = server_context(ca=ssl.PEM_cert_to_DER_cert(certificates.ca.read_text()))
    server.load_cert_chain(certificates.ec.cert, certificates.ec.key)
    operator = certificates.trusting(certificates.client)
    now = time.time()
    async with guarded(None, server, certified=True, wall_clock=lambda: now) as client:
        assert (await client.get("/", ssl=operator)).status == 200
        now += 91 * DAY
        answer = await client.get("/", ssl=operator)
        assert (answer.status, await answer.text()) == (403, "Your certificate is not valid now.\n")


async def test_behind_a_proxy_with_tls_a_page_comes_by_https() -> None:
    async with guarded(None) as client:
        origin = {"Origin": f"https://{client.host}:{client.port}"}
        assert (await client.get("/", headers=origin)).status == 200


@pytest.mark.parametrize("data", [{}, {"other": TOKEN}, b"\xff\xfe", {"token": ""}])
async def test_a_login_without_a_token_is_a_wrong_one(data: dict[str, str] | bytes) -> None:
    async with guarded(TOKEN) as client:
        answer = await client.post(LOGIN, data=data, allow_redirects=False)
        assert answer.status == 401


async def test_only_a_login_needs_no_token() -> None:
    async with guarded(TOKEN) as client:
        for method, path in (("GET", LOGIN), ("PUT", LOGIN), ("POST", f"{LOGIN}/"), ("POST", "/")):
            assert (await client.request(method, path)).status == 401


async def test_consoles_on_one_host_keep_their_logins_apart() -> None:
    names = []
    for token in (TOKEN, "the secret of another service"):
        async with guarded(token) as client:
            answer = await client.post(LOGIN, data={"token": token}, allow_redirects=False)
            names += [cookie.key for cookie in answer.cookies.values()]
    assert len(set(names)) == 2


@pytest.mark.parametrize("name", ["Authorization", "Cookie"])
async def test_bytes_that_are_no_text_are_no_token(name: str) -> None:
    async with guarded(TOKEN) as client:
        login = await client.post(LOGIN, data={"token": TOKEN}, allow_redirects=False)
        (cookie,) = login.cookies
        value = {"Authorization": b"Bearer \xff", "Cookie": b"%s=\xff" % cookie.encode()}[name]
        reader, writer = await asyncio.open_connection(client.host, client.port)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: localhost\r\n%s: %s\r\n\r\n" % (name.encode(), value)
        )
        assert b" 401 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_programs_get_a_text() -> None:
    async with guarded(TOKEN) as client:
        answer = await client.get("/")
        assert answer.status == 401
        assert await answer.text() == "This console needs a token: Authorization: Bearer TOKEN.\n"
        answer = await client.get("/", headers={"Authorization": f"Bearer {TOKEN}"})
        assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
        {"Host": "evil.test"},
    ],
)
async def test_no_other_site_logs_anybody_in(headers: dict[str, str]) -> None:
    async with guarded(TOKEN) as client:
        answer = await client.post(
            LOGIN, data={"token": TOKEN}, headers=headers, allow_redirects=False
        )
        assert answer.status in {403, 421}
        assert not answer.cookies


@pytest.mark.parametrize("name", ["index.html", "login.html"])
def test_a_page_is_one_file_that_asks_no_other_host(name: str) -> None:
    text = (FOLDER / name).read_text()
    assert not re.findall(r"""(?:src|href|action)=["'](?!data:|/login)""", text)
    # A namespace's name is the only address in it.
    assert set(re.findall(r"https?://[^'\"\s]+", text)) <= {"http://www.w3.org/2000/svg"}
    for dangerous in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("):
        assert dangerous not in text
    # A policy of hashes takes styles of elements and handlers in attributes for what they are.
    assert not re.findall(r"<[^>]+\s(?:style|on\w+)=", text)


def test_the_policy_names_what_is_in_the_page() -> None:
    policy = policy_of("<style>a{}</style><script>1</script><script>2</script>")
    assert policy.count("'sha256-") == 3
    assert "script-src 'sha256-a4ayc/80/OGda4BO/1o/V0etpOqiLx1JwB5S3beHW0s='" in policy
    assert "style-src 'none'" in policy_of("<p>")
