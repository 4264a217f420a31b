"""JSON Web Tokens as bearer tokens (RFC 7519), checked by PyJWT.

Rules. A key has one algorithm, that of its kind: what a token's own header says chooses nothing
(RFC 8725, 3.1). A token without an end is refused. No text repeats a token or a key.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, NamedTuple, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from websockets.http11 import Request

from mpchat.auth.bearer import INVALID, find_token
from mpchat.auth.signing import MIN_KEY, SecretKey
from mpchat.components.auth import AuthCheckerBase, Unauthorized
from mpchat.components.component import Component, Components
from mpchat.components.context import Context
from mpchat.components.identity import Identity
from mpchat.config.types import ConfigPath, Duration
from mpchat.config.yaml_file import problem
from mpchat.dynamic_config.fallback import read_file
from mpchat.dynamic_config.json_file import read_json
from mpchat.errors import ConfigError, Problem

try:
    import jwt
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key
except ImportError as error:
    raise ImportError("mpchat.JwtAuth needs PyJWT: pip install 'mpchat[jwt]'") from error

_MIN_RSA_BITS = 2048
"""Of an RSA key (RFC 7518, 3.3)."""
_WHY = (
    (jwt.InvalidSignatureError, "the token's signature is wrong"),
    (jwt.InvalidAudienceError, "the token is for another audience"),
    (jwt.InvalidIssuerError, "the token is of another issuer"),
    (jwt.ImmatureSignatureError, "the token is not valid yet"),
    (jwt.MissingRequiredClaimError, "the token lacks a claim"),
)
_MALFORMED = "the token is malformed"


class Key(NamedTuple):
    """A key by which tokens are checked, and the one algorithm that it is for."""

    algorithm: str
    key: Any


class JwtAuth(AuthCheckerBase):
    """JSON Web Tokens, found where BearerAuth finds tokens: HS256, RS256 and ES256.

    Its section is ``jwt``; it needs ``pip install 'mpchat[jwt]'``. Files of keys are read again at each
    reload of the dynamic config, which a file with mistakes prevents. The connection ends with the token
    (``exp``) unless its handler renews it.
    """

    name = "jwt"
    section_optional = True
    challenge = "Bearer"

    class Options(Component.Options):
        """The section ``jwt``: exactly one of key, public-key-path and jwks-path."""

        key: Annotated[
            SecretKey | None,
            Field(
                description=f"The secret of HS256, of at least {MIN_KEY} random characters, by "
                "`key#env: JWT_KEY` in no file"
            ),
        ] = None
        public_key_path: Annotated[
            ConfigPath | None,
            Field(
                alias="public-key-path",
                description="A public key in PEM: RSA of at least 2,048 bits for RS256, or P-256 for "
                "ES256",
            ),
        ] = None
        jwks_path: Annotated[
            ConfigPath | None,
            Field(
                alias="jwks-path",
                description="A JWK Set (RFC 7517). A token's `kid` chooses the key; keys of other kinds "
                "are left out",
            ),
        ] = None
        audience: Annotated[
            str | None,
            Field(
                description="What `aud` has to contain; by default only tokens without `aud` are "
                "accepted"
            ),
        ] = None
        issuer: Annotated[
            str | None, Field(description="What `iss` has to be; by default anything")
        ] = None
        leeway: Annotated[
            Duration, Field(description="Difference of clocks that `exp` and `nbf` allow")
        ] = 0.0
        user_claim: Annotated[
            str, Field(alias="user-claim", description="The claim with the user's name")
        ] = "sub"
        tags_claim: Annotated[
            str | None,
            Field(
                alias="tags-claim",
                description="The claim with the user's tags, a list or words with spaces, such as "
                "`scope`; by default no tags",
            ),
        ] = None

        @model_validator(mode="after")
        def _one_source(self) -> Self:
            sources = (self.key, self.public_key_path, self.jwks_path)
            if sum(source is not None for source in sources) != 1:
                text = "expected exactly one of key, public-key-path and jwks-path"
                raise PydanticCustomError("keys", text)
            return self

    @classmethod
    def check_files(cls, options: Options) -> None:
        read_keys(options)

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._keys: dict[str | None, Key] = {}

    async def start(self) -> None:
        self._keys = read_keys(self.options)

    def on_config_update(self) -> None:
        try:
            self._keys = read_keys(self.options)
        except ConfigError as error:
            # Its text has the places; a traceback would add nothing.
            self.logger.error("the keys stay as they were: %s", error)  # noqa: TRY400

    async def check(self, request: Request, context: Context) -> Identity | None:
        """Return whose token a request has."""
        token = find_token(request)
        return self.verify(token) if token is not None else None

    def verify(self, token: str) -> Identity:
        """Return whose token this is, for example one that comes in a message.

        It may have expired: ``expires`` tells.

        Raises:
            Unauthorized: The token is wrong.
        """
        options = self.options
        try:
            key = self._key_of(jwt.get_unverified_header(token).get("kid"))
            claims = jwt.decode(
                token,
                key.key,
                algorithms=[key.algorithm],
                audience=options.audience,
                issuer=options.issuer,
                leeway=options.leeway,
                # Whoever asks compares the end with a clock of its own.
                options={"require": ["exp", options.user_claim], "verify_exp": False},
            )
        except jwt.PyJWTError as error:
            why = next((text for cls, text in _WHY if isinstance(error, cls)), _MALFORMED)
            raise Unauthorized(why, INVALID) from error
        user, expires = claims[options.user_claim], claims["exp"]
        tags = claims.get(options.tags_claim, []) if options.tags_claim is not None else []
        words = tags.split() if isinstance(tags, str) else tags
        if not (_is_name(user) and _is_time(expires) and isinstance(words, list)):
            raise Unauthorized(_MALFORMED, INVALID)
        if not all(_is_name(word) for word in words):
            raise Unauthorized(_MALFORMED, INVALID)
        return Identity(user, frozenset(words), expires + options.leeway)

    def _key_of(self, kid: object) -> Key:
        """Return the key for a token: the one that it names, or the only one.

        Raises:
            Unauthorized: There is none.
        """
        keys = self._keys
        if None in keys:
            return keys[None]
        found = keys.get(kid) if isinstance(kid, str) else None
        if found is None and kid is None and len(keys) == 1:
            (found,) = keys.values()
        if found is None:
            raise Unauthorized("the token's key is unknown", INVALID)
        return found


def read_keys(options: JwtAuth.Options) -> dict[str | None, Key]:
    """Return the keys by their names; None is the name of one that every token is checked by.

    Raises:
        ConfigError: Their file has mistakes.
    """
    if options.key is not None:
        return {None: Key("HS256", options.key.get_secret_value().encode())}
    if options.public_key_path is not None:
        return {None: _read_pem(options.public_key_path)}
    assert options.jwks_path is not None
    return _read_jwks(options.jwks_path)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_time(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)  # type: ignore[arg-type]


def _read_pem(path: str) -> Key:
    """Return a public key.

    Raises:
        ConfigError: The file has none that fits.
    """
    try:
        key = load_pem_public_key(read_file(path).encode())
    except ValueError as error:
        raise ConfigError([Problem(path, 0, 0, "", "expected a public key in PEM")]) from error
    algorithm = _algorithm_of(key)
    if algorithm is None:
        text = f"expected RSA of at least {_MIN_RSA_BITS} bits, or P-256"
        raise ConfigError([Problem(path, 0, 0, "", text)])
    return Key(algorithm, key)


def _read_jwks(path: str) -> dict[str | None, Key]:
    """Return the keys of a JWK Set by their names; without names there can be one.

    Raises:
        ConfigError: The file has mistakes, or no key that fits.
    """
    document = read_json(read_file(path), path)
    listed = document.value.get("keys")
    if not isinstance(listed, list):
        raise ConfigError([problem(document, (), "expected a JWK Set, with a list of keys")])
    found: dict[str | None, Key] = {}
    problems = list(document.problems)
    for number, data in enumerate(listed):
        key = _key_from(data) if isinstance(data, dict) else None
        if key is None:
            # RFC 7517, 5: keys that are not understood are ignored.
            continue
        kid = data.get("kid")
        name = kid if isinstance(kid, str) else None
        if name in found or (found and None in {name, *found}):
            problems.append(problem(document, ("keys", number), "expected a kid of its own"))
        found[name] = key
    if not found and not problems:
        text = "expected a key for HS256, RS256 or ES256"
        problems.append(problem(document, ("keys",), text))
    if problems:
        raise ConfigError(problems)
    return found


def _key_from(data: dict[str, Any]) -> Key | None:
    """Return the key of a JWK; None if it is not for signatures by one of our algorithms."""
    if data.get("use", "sig") != "sig":
        return None
    try:
        read = jwt.PyJWK(data, _ALGORITHMS.get(data.get("kty", "")))
        algorithm = _algorithm_of(read.key)
    except (
        jwt.PyJWTError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        NotImplementedError,
    ):
        # Their texts have the key in them. The last is what PyJWT makes of the algorithm "none".
        return None
    if algorithm is None or data.get("alg", algorithm) != algorithm:
        return None
    return Key(algorithm, read.key)


_ALGORITHMS = {"oct": "HS256", "RSA": "RS256", "EC": "ES256"}


def _algorithm_of(key: Any) -> str | None:
    """Return the algorithm that a key is for, None if there is none or the key is too weak."""
    match key:
        case bytes() if len(key) >= MIN_KEY:
            return "HS256"
        case RSAPublicKey() if key.key_size >= _MIN_RSA_BITS:
            return "RS256"
        case EllipticCurvePublicKey() if isinstance(key.curve, SECP256R1):
            return "ES256"
    return None
