"""JSON Web Tokens: what PyJWT is asked to check, by keys that have one algorithm each."""

from __future__ import annotations

import importlib
import json
import string
import sys
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.datastructures import Headers
from websockets.http11 import Request

from mpchat.auth.jwt import JwtAuth, _key_from, read_keys
from mpchat.auth.signing import encode
from mpchat.components.identity import Identity
from mpchat.errors import ConfigError
from mpchat.http.errors import HttpError
from tests.kit.host import under_construction
from tests.unit.auth.rig import Plan, plan

CONTEXT: Any = None
SECRET, OTHER = "s" * 32, "o" * 32
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
EXP = int(time.time()) + 3600
CLAIMS = {"sub": "ada", "exp": EXP}


def pem(key: Any) -> str:
    found: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return found.decode()


def jwk(key: Any, kid: str | None, **more: str) -> dict[str, Any]:
    algorithm = jwt.algorithms.RSAAlgorithm if key is RSA else jwt.algorithms.ECAlgorithm
    found: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return found | ({"kid": kid} if kid else {}) | more


def oct_key(secret: str, kid: str) -> dict[str, Any]:
    return {"kty": "oct", "k": encode(secret.encode()), "kid": kid}


def checker(found: Plan) -> JwtAuth:
    components = under_construction("jwt")
    made = JwtAuth(found.options, components)
    made._keys = read_keys(found.options)
    return made


def refusal(found: JwtAuth, token: str) -> str:
    with pytest.raises(HttpError) as caught:
        found.verify(token)
    assert caught.value.status == 401
    return caught.value.text


@pytest.mark.covers("JwtAuth.key", "JwtAuth.tags-claim", "JwtAuth.leeway")
async def test_a_token_of_a_secret() -> None:
    found = checker(plan(JwtAuth, key=SECRET, tags_claim="scope", leeway="5s"))
    token = jwt.encode({**CLAIMS, "scope": "read write"}, SECRET, "HS256")
    ada = Identity("ada", frozenset({"read", "write"}), EXP + 5)
    headers = Headers(Authorization=f"Bearer {token}")
    assert await found.check(Request("/", headers), CONTEXT) == ada
    assert await found.check(Request("/", Headers()), CONTEXT) is None
    as_list = jwt.encode({**CLAIMS, "scope": ["read"]}, SECRET, "HS256")
    assert found.verify(as_list).tags == frozenset({"read"})
    # Whoever asks compares it with a clock of its own.
    old = jwt.encode({"sub": "ada", "exp": 1}, SECRET, "HS256")
    assert found.verify(old).expires == 6


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        ({"sub": "ada"}, "the token lacks a claim"),
        ({"exp": EXP}, "the token lacks a claim"),
        ({**CLAIMS, "sub": ""}, "the token is malformed"),
        ({**CLAIMS, "sub": 7}, "the token is malformed"),
        ({**CLAIMS, "exp": "soon"}, "the token is malformed"),
        ({**CLAIMS, "exp": True}, "the token is malformed"),
        ({**CLAIMS, "exp": float("inf")}, "the token is malformed"),
        ({**CLAIMS, "scope": {"a": 1}}, "the token is malformed"),
        ({**CLAIMS, "scope": [1]}, "the token is malformed"),
        ({**CLAIMS, "nbf": EXP}, "the token is not valid yet"),
        ({**CLAIMS, "aud": "other"}, "the token is for another audience"),
    ],
)
def test_claims_that_are_refused(claims: dict[str, Any], text: str) -> None:
    found = checker(plan(JwtAuth, key=SECRET, tags_claim="scope"))
    payload = json.dumps(claims).encode()
    token = jwt.PyJWS().encode(payload, SECRET, "HS256")
    assert refusal(found, token) == text


@pytest.mark.covers("JwtAuth.audience", "JwtAuth.issuer", "JwtAuth.user-claim")
def test_audience_issuer_and_another_claim_for_the_user() -> None:
    found = checker(
        plan(JwtAuth, key=SECRET, audience="chat", issuer="https://id", user_claim="name")
    )
    claims = {"name": "ada", "exp": EXP, "aud": ["chat", "x"], "iss": "https://id"}
    assert found.verify(jwt.encode(claims, SECRET, "HS256")).user == "ada"
    for wrong, text in (
        ({"aud": "x"}, "the token is for another audience"),
        ({"iss": "https://evil"}, "the token is of another issuer"),
        ({"aud": None}, "the token lacks a claim"),
        ({"iss": None}, "the token lacks a claim"),
        ({"name": None}, "the token lacks a claim"),
    ):
        changed = {key: value for key, value in (claims | wrong).items() if value is not None}
        assert refusal(found, jwt.encode(changed, SECRET, "HS256")) == text


@pytest.mark.covers("JwtAuth.public-key-path")
@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256")])
def test_a_public_key_has_one_algorithm(tmp_path: Path, key: Any, algorithm: str) -> None:
    path = tmp_path / "key.pem"
    path.write_text(pem(key))
    found = checker(plan(JwtAuth, public_key_path=str(path)))
    assert found.verify(jwt.encode(CLAIMS, key, algorithm)).user == "ada"
    other = {"RS256": "PS256", "ES256": "RS256"}[algorithm]
    assert refusal(found, jwt.encode(CLAIMS, RSA, other)) == "the token is malformed"
    # The public key as a secret: what verifies would be what signs.
    header = encode(json.dumps({"alg": "HS256", "typ": "JWT"}).encode())
    payload = encode(json.dumps(CLAIMS).encode())
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    forged = f"{header}.{payload}"
    signature = encode(mac.sign(forged.encode(), pem(key).encode()))
    assert refusal(found, f"{forged}.{signature}") == "the token is malformed"


def test_a_token_without_a_signature() -> None:
    found = checker(plan(JwtAuth, key=SECRET))
    header = encode(b'{"alg":"none"}')
    payload = encode(json.dumps(CLAIMS).encode())
    for signature in ("", "eA"):
        assert refusal(found, f"{header}.{payload}.{signature}") == "the token is malformed"
    assert refusal(found, jwt.encode(CLAIMS, OTHER, "HS256")) == "the token's signature is wrong"


@pytest.mark.covers("JwtAuth.jwks-path")
def test_a_set_of_keys_by_their_names(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "jwks.json"

    def write(*keys: Any) -> None:
        path.write_text(json.dumps({"keys": keys}))

    write(
        jwk(RSA, "r"),
        jwk(EC, "e", use="sig", alg="ES256"),
        oct_key(SECRET, "s"),
        # Left out: for encryption, for another algorithm, too weak, of another kind, none at all.
        jwk(RSA, "enc", use="enc"),
        jwk(RSA, "ps", alg="PS256"),
        oct_key("short", "weak"),
        {"kty": "OKP", "crv": "Ed25519", "x": "AA", "kid": "okp"},
        {"kty": "EC", "kid": "half"},
        7,
    )
    found = checker(plan(JwtAuth, jwks_path=str(path)))
    for key, algorithm, kid in ((RSA, "RS256", "r"), (EC, "ES256", "e"), (SECRET, "HS256", "s")):
        token = jwt.encode(CLAIMS, key, algorithm, headers={"kid": kid})
        assert found.verify(token).user == "ada"
    for stranger in ("enc", "ps", "nobody", None):
        headers = {"kid": stranger} if stranger else None
        unknown = jwt.encode(CLAIMS, RSA, "RS256", headers=headers)
        assert refusal(found, unknown) == "the token's key is unknown"
    # The name of one key, signed by another
    crossed = jwt.encode(CLAIMS, SECRET, "HS256", headers={"kid": "r"})
    assert refusal(found, crossed) == "the token is malformed"
    path.write_text("{}")
    found.on_config_update()
    assert "the keys stay as they were" in caplog.text
    assert found.verify(jwt.encode(CLAIMS, EC, "ES256", headers={"kid": "e"}))
    write(jwk(EC, "next"))
    found.on_config_update()
    assert found.verify(jwt.encode(CLAIMS, EC, "ES256", headers={"kid": "next"}))
    # One key alone needs no name.
    assert found.verify(jwt.encode(CLAIMS, EC, "ES256"))
    old = jwt.encode(CLAIMS, RSA, "RS256", headers={"kid": "r"})
    assert refusal(found, old) == "the token's key is unknown"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "expected an object"),
        ('{"keys": {}}', "expected a JWK Set"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "keys: expected a key for HS256, RS256"),
        (json.dumps({"keys": [jwk(RSA, "a"), jwk(EC, "a")]}), "keys[1]: expected a kid of its own"),
        (json.dumps({"keys": [jwk(RSA, None), jwk(EC, "a")]}), "keys[1]: expected a kid of its o"),
    ],
)
def test_sets_with_mistakes(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        checker(plan(JwtAuth, jwks_path=str(path)))
    assert told in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "no key", pem(rsa.generate_private_key(65537, 1024))])
def test_files_without_a_key(tmp_path: Path, text: str) -> None:
    path = tmp_path / "key.pem"
    path.write_text(text)
    with pytest.raises(ConfigError):
        checker(plan(JwtAuth, public_key_path=str(path)))


@pytest.mark.parametrize("options", [{}, {"key": SECRET, "jwks_path": "x"}, {"key": "short"}])
def test_there_is_one_source_of_keys(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        plan(JwtAuth, **options)


@given(st.data())
def test_no_change_of_a_token_is_accepted(data: st.DataObject) -> None:
    found = checker(plan(JwtAuth, key=SECRET))
    token = jwt.encode({"sub": "ada", "exp": 2_000_000_000}, SECRET, "HS256")
    where = data.draw(st.integers(0, len(token) - 2))
    letter = data.draw(st.sampled_from(string.ascii_letters + string.digits + "-_.="))
    forged = token[:where] + letter + token[where + 1 :]
    if forged != token:
        assert refusal(found, forged)


_NAMES = st.sampled_from(["kty", "alg", "use", "k", "n", "e", "crv", "x", "y", "d"])
_VALUES = st.sampled_from(["oct", "RSA", "EC", "P-256", "HS256", "sig", encode(b"x" * 32)])


@example({"kty": "P-256", "alg": "none"})
@given(st.dictionaries(_NAMES, _VALUES | st.text() | st.integers() | st.none() | st.lists(_NAMES)))
def test_whatever_a_set_has_is_a_key_or_left_out(data: dict[str, Any]) -> None:
    key = _key_from(data)
    assert key is None or key.algorithm in {"HS256", "RS256", "ES256"}


def test_without_pyjwt_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    monkeypatch.delitem(sys.modules, "mpchat.auth.jwt")
    with pytest.raises(ImportError, match=r"pip install 'mpchat\[jwt\]'"):
        importlib.import_module("mpchat.auth.jwt")
