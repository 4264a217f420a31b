"""Bearer tokens: where a request has them (RFC 6750), and whose they are by a file of tokens.

Rules. A token is in ``Authorization: Bearer TOKEN`` or, since a page cannot send that header with a
WebSocket, offered as the subprotocol ``base64url.bearer.`` and the token in base64url, beside a real one.
The service looks a token up by its SHA-256: what a forger can time is the hash of a guess.
"""

from __future__ import annotations

import hashlib
import re
from http import HTTPStatus
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field
from websockets.http11 import Request

from mpchat.auth.signing import decode
from mpchat.components.auth import AuthCheckerBase, Unauthorized
from mpchat.components.component import Component, Components
from mpchat.components.context import Context
from mpchat.components.identity import Identity
from mpchat.config.types import ConfigPath
from mpchat.config.validation import validate
from mpchat.config.yaml_file import problem
from mpchat.dynamic_config.fallback import read_file
from mpchat.dynamic_config.json_file import read_json
from mpchat.errors import ConfigError
from mpchat.http.errors import HttpError
from mpchat.http.upgrade import TOKEN_OFFER

INVALID = 'Bearer error="invalid_token"'
"""The challenge for a token that is wrong or too old (RFC 6750, 3.1)."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_HASHED = re.compile("sha256:([0-9a-f]{64})")


def find_token(request: Request) -> str | None:
    """Return the token that a request has, or None.

    Raises:
        HttpError: 400 for more than one; 401 for one that breaks the grammar of RFC 6750, 2.1.
    """
    found = [_of_header(value) for value in request.headers.get_all("Authorization")]
    offers = ",".join(request.headers.get_all("Sec-WebSocket-Protocol")).split(",")
    found += [_of_offer(offer.strip(" \t")) for offer in offers]
    tokens = [token for token in found if token is not None]
    if len(tokens) > 1:
        raise HttpError(HTTPStatus.BAD_REQUEST, "more than one token")
    if not tokens:
        return None
    if _TOKEN.fullmatch(tokens[0]) is None:
        raise Unauthorized("the token is malformed", INVALID)
    return tokens[0]


def _of_header(value: str) -> str | None:
    scheme, _, token = value.partition(" ")
    return token.strip(" ") if scheme.lower() == "bearer" else None


def _of_offer(offer: str) -> str | None:
    """Return the token in a subprotocol, empty if it is not base64url; None if there is none."""
    if not offer.startswith(TOKEN_OFFER):
        return None
    return (decode(offer.removeprefix(TOKEN_OFFER)) or b"").decode("ascii", "replace")


def _check_tokens(value: Any) -> Any:
    """Check the tokens of a user, in words that do not repeat them."""
    if not isinstance(value, list) or not value:
        raise ValueError("expected a list of tokens")
    for token in value:
        if not isinstance(token, str) or not (_HASHED.fullmatch(token) or _TOKEN.fullmatch(token)):
            text = "expected tokens of letters, digits and ._~+/-, or sha256:HEX for those of any"
            raise ValueError(text)
    return tuple(value)


class Owner(BaseModel, strict=True, extra="forbid", frozen=True):
    """An entry of a file of tokens: what belongs to a user.

    Attributes:
        tokens: The tokens, each as it is or as ``sha256:`` and its hash in hexadecimal.
        tags, expires: As in Identity, for all of these tokens.
    """

    tokens: Annotated[tuple[str, ...], BeforeValidator(_check_tokens)]
    tags: Annotated[tuple[str, ...], Field(strict=False)] = ()
    expires: float | None = None


def read_tokens(path: str) -> dict[bytes, Identity]:
    """Return who tokens belong to, by the SHA-256 of the token, from a JSON file of users.

    Raises:
        ConfigError: The file cannot be read, or has mistakes.
    """
    document = read_json(read_file(path), path)
    problems = list(document.problems)
    found: dict[bytes, Identity] = {}
    for user in document.value:
        owner = validate(Owner, document, (user,), problems)
        if owner is None:
            continue
        for token in owner.tokens:
            hashed = _HASHED.fullmatch(token)
            digest = bytes.fromhex(hashed[1]) if hashed else _hash(token)
            if digest in found:
                problems.append(problem(document, (user, "tokens"), "a token is listed twice"))
            found[digest] = Identity(user, frozenset(owner.tags), owner.expires)
    if problems:
        raise ConfigError(problems)
    return found


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


class BearerAuth(AuthCheckerBase):
    """Bearer tokens of a file, or of your own: derive and override ``find``.

    Its section is ``bearer``. A request has its token in ``Authorization: Bearer TOKEN``, or offers it as
    a subprotocol (docs/authentication.md). The file is read again at each reload of the dynamic config,
    which a file with mistakes prevents.
    """

    name = "bearer"
    section_optional = True
    challenge = "Bearer"

    class Options(Component.Options):
        """The section ``bearer``."""

        tokens_path: Annotated[
            ConfigPath | None,
            Field(
                alias="tokens-path",
                description="A JSON file, user by user: "
                '`{"ada": {"tokens": ["sha256:HEX"], "tags": ["staff"], "expires": 1764374399}}`. A '
                "token stands there as it is or, better, as its SHA-256",
            ),
        ] = None

    @classmethod
    def check_files(cls, options: Options) -> None:
        if options.tokens_path is not None:
            read_tokens(options.tokens_path)

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._owners: dict[bytes, Identity] = {}

    async def start(self) -> None:
        if self.options.tokens_path is not None:
            self._owners = read_tokens(self.options.tokens_path)

    def on_config_update(self) -> None:
        path = self.options.tokens_path
        if path is not None:
            try:
                self._owners = read_tokens(path)
            except ConfigError as error:
                # Its text has the places; a traceback would add nothing.
                self.logger.error("the tokens stay as they were: %s", error)  # noqa: TRY400

    async def check(self, request: Request, context: Context) -> Identity | None:
        """Return whose token a request has."""
        token = find_token(request)
        if token is None:
            return None
        identity = await self.find(token)
        if identity is None:
            raise Unauthorized("the token is unknown", INVALID)
        return identity

    async def find(self, token: str) -> Identity | None:
        """Override to look up tokens elsewhere; return None for one that nobody has.

        Compare secrets by ``hmac.compare_digest`` or by their hashes, never by ``==``.
        """
        return self._owners.get(_hash(token))
