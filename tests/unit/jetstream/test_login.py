"""Logging in: by password, token or credentials, over TLS; and the words for what goes wrong."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nkeys
import pytest

from mpchat.jetstream.errors import LoginRefused, Unreachable
from tests.kit.nats import NatsServer
from tests.unit.jetstream.certificates import make
from tests.unit.jetstream.fake import FakeNats, fake_nats
from tests.unit.jetstream.rig import LIMIT, LOGIN, Rig, connected, options

CREDENTIALS = """-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NatsServer, Path]]:
    """A server with TLS, and the authority of its certificate."""
    folder = tmp_path_factory.mktemp("tls")
    authority, certificate, key = make(folder)
    more = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}'
    server = NatsServer(folder, more=more, scheme="tls")
    try:
        yield server.start(), authority
    finally:
        server.close()


async def refusal(chosen: Any) -> str:
    rig = Rig(chosen)
    try:
        with pytest.raises(LoginRefused) as caught:
            await rig.connection.connect(LIMIT)
    finally:
        await rig.connection.close()
    assert rig.ups == 0
    return str(caught.value)


@pytest.mark.covers("JetStreamOptions.user", "JetStreamOptions.password")
async def test_a_user_with_a_password(server: NatsServer) -> None:
    password = LOGIN["password"]
    async with connected(options(server.url, user="host", password=password)) as rig:
        assert rig.connection.is_up
    for chosen in (
        options(server.url, user="host", password="wr0ng"),
        options(server.url, user="nobody", password=password),
        options(server.url, token="wr0ng"),
        options(server.url),
    ):
        text = await refusal(chosen)
        assert "see user, password or token" in text
        assert "wr0ng" not in text
        assert password not in text


@pytest.mark.covers("JetStreamOptions.token")
async def test_a_token(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, login='authorization { token: "t0ken" }').start()
    try:
        async with connected(options(server.url, token="t0ken")) as rig:
            assert rig.connection.is_up
        assert "does not let us in" in await refusal(options(server.url, token="wr0ng"))
    finally:
        server.close()


@pytest.mark.covers("JetStreamOptions.credentials-file")
async def test_credentials_sign_what_the_server_asks_for(tmp_path: Path) -> None:
    pair = nkeys.from_seed(bytearray(nkeys.encode_seed(bytes(range(32)), nkeys.PREFIX_BYTE_USER)))
    path = tmp_path / "host.creds"
    path.write_text(CREDENTIALS.format(jwt="a.b.c", seed=pair.seed.decode()))
    async with (
        fake_nats(FakeNats(info={"nonce": "n0nce", "auth_required": True})) as fake,
        connected(options(fake.url, credentials_file=str(path))),
    ):
        sent = fake.connects[0]
        assert sent["jwt"] == "a.b.c"
        assert pair.verify(b"n0nce", base64.b64decode(sent["sig"]))
        assert pair.seed.decode() not in str(sent)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, "No such file or directory"),
        ("", "expected a user's JWT and seed"),
        (CREDENTIALS.format(jwt="a.b.c", seed=""), "expected a user's JWT and seed"),
        (CREDENTIALS.format(jwt="a.b.c", seed="SUABCDEF"), "expected a good seed"),
    ],
)
async def test_mistakes_in_credentials(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "host.creds"
    if text is not None:
        path.write_text(text)
    found = await refusal(options("nats://127.0.0.1:1", credentials_file=str(path)))
    assert found.startswith(f"{path}: {expected}")
    assert "SUABCDEF" not in found


@pytest.mark.covers("JetStreamOptions.tls-ca")
async def test_a_certificate_by_our_authority(tls: tuple[NatsServer, Path], tmp_path: Path) -> None:
    server, authority = tls
    async with connected(options(server.url, tls_ca=str(authority), **LOGIN)) as rig:
        await rig.connection.flush()
    other, _certificate, _key = make(tmp_path)
    for chosen in (
        options(server.url, tls_ca=str(other), **LOGIN),
        options(server.url, **LOGIN),
        # A server that asks for encryption gets it, whatever its address says.
        options(server.url.replace("tls:", "nats:"), **LOGIN),
    ):
        assert "its certificate is not trusted" in await refusal(chosen)


@pytest.mark.parametrize(("content", "expected"), [(None, "No such file"), (b"no PEM", "")])
async def test_mistakes_in_authorities(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    found = await refusal(options("tls://127.0.0.1:1", tls_ca=str(path)))
    assert found.startswith(f"{path}: {expected}")


@pytest.mark.parametrize("login", [LOGIN, {"token": "t0ken"}, {}])
async def test_no_secret_is_told_to_a_server_that_does_not_encrypt(login: dict[str, str]) -> None:
    # nats-py would go on without encryption, since the server does not ask for it.
    async with fake_nats(FakeNats()) as fake:
        url = fake.url.replace("nats:", "tls:")
        assert "does not encrypt" in await refusal(options(url, **login))
        sent = str(fake.connects)
        assert not any(secret in sent for secret in login.values())


async def test_a_server_that_is_no_nats() -> None:
    async with fake_nats(FakeNats(hello="HTTP/1.1 400 Bad Request")) as fake:
        rig = Rig(options(fake.url))
        with pytest.raises(Unreachable, match="empty response from server"):
            await rig.connection.connect(0.5)
