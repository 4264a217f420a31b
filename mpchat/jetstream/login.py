"""What a connection logs in with, and why a server did not let us in.

Rules. Files are read again for each connection. No text repeats a password, a token or a seed.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from typing import Any, NamedTuple

import nats.errors
from nats.aio.client import RawCredentials

from mpchat.errors import describe_os_error
from mpchat.jetstream.errors import ConfigFault, LoginRefused, Unreachable
from mpchat.jetstream.options import JetStreamOptions

_LOGIN = re.compile("authorization violation|(user|account) authentication", re.IGNORECASE)
_CREDENTIALS = re.compile(
    r"-+BEGIN NATS USER JWT-+\s+[\w.-]+\s+-+END NATS USER JWT-+.*"
    r"-+BEGIN USER NKEY SEED-+\s+(\w+)\s+-+END USER NKEY SEED-+",
    re.DOTALL,
)


class Login(NamedTuple):
    """How to log in.

    Attributes:
        arguments: For nats-py's ``connect``.
        context: What certificates are checked by; None: the system's authorities.
    """

    arguments: dict[str, Any]
    context: ssl.SSLContext | None


def read_login(options: JetStreamOptions, confide: Callable[[str], str]) -> Login:
    """Return how to log in.

    ``confide`` is given each secret just before it is sent, and may raise.

    Raises:
        LoginRefused: A file has mistakes.
    """
    arguments: dict[str, Any] = {}
    context = None
    if options.password is not None:
        password = options.password.get_secret_value()
        arguments = {"user": options.user, "password": lambda: confide(password)}
    if options.token is not None:
        token = options.token.get_secret_value()
        arguments = {"token": lambda: confide(token)}
    path = None
    try:
        if (path := options.credentials_file) is not None:
            with open(path, encoding="utf-8") as file:
                arguments = {"user_credentials": _credentials(file.read())}
        if (path := options.tls_ca) is not None:
            context = ssl.create_default_context(cafile=path)
    except (ssl.SSLError, ValueError) as error:
        raise LoginRefused(f"{path}: {error}") from error
    except OSError as error:
        raise LoginRefused(f"{path}: {describe_os_error(error)}") from error
    return Login(arguments, context)


def _credentials(text: str) -> RawCredentials:
    found = _CREDENTIALS.search(text)
    if found is None:
        raise ValueError("expected a user's JWT and seed (.creds)")
    # An extra of its own: only a credentials file needs it.
    import nkeys  # noqa: PLC0415

    try:
        nkeys.from_seed(bytearray(found[1].encode())).wipe()
    except nkeys.NkeysError as error:
        raise ValueError("expected a good seed") from error
    return RawCredentials(text)


def refusal(url: str, error: Exception, last_error: str) -> ConfigFault | Unreachable:
    """Return why there is no connection, by what ``connect`` has raised and told before."""
    text = str(error).removeprefix("nats: ").strip("'")
    match error:
        case ssl.SSLCertVerificationError():
            return LoginRefused(f"{url}: its certificate is not trusted: {error.verify_message}")
        case nats.errors.NoServersError():
            text = last_error
        case TimeoutError():
            text = last_error or "it does not answer"
        case OSError():
            text = describe_os_error(error)
        case _ if _LOGIN.search(text):
            return LoginRefused(f"{url} does not let us in: {text}: see user, password or token")
    return Unreachable(f"{url}: {text}")
