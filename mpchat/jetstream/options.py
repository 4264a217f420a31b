"""The options of the stream that orders the messages of rooms, and of the way to it."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from mpchat.config.types import MAX_INT, ConfigPath, Duration, OptionsModel
from mpchat.jetstream.subjects import API, Subjects

_KIB = 1024
_GIB = 1024**3
_MOST_BYTES = 2**63 - 1
_LEAST_WINDOW = 0.1
"""Seconds of the shortest window that NATS takes."""


def _check_server(url: str) -> str:
    try:
        scheme, netloc = urlsplit(url)[:2]
        good = bool(urlsplit(url).hostname) and urlsplit(url).port != 0
    except ValueError:
        scheme, netloc, good = "", "", False
    if not good or scheme not in {"nats", "tls"} or url != f"{scheme}://{netloc}":
        raise PydanticCustomError("server", "expected a server such as nats://10.0.0.1:4222")
    if "@" in netloc:
        # Addresses are shown in logs and in the status.
        text = "expected no user in a server's address: use the options user, password or token"
        raise PydanticCustomError("server", text)
    return url


Server = Annotated[str, AfterValidator(_check_server)]
_NAME = r"^[A-Za-z0-9_-]{1,64}$"


class JetStreamOptions(OptionsModel):
    """NATS JetStream, which orders and keeps the messages of rooms for several hosts."""

    servers: Annotated[
        list[Server],
        Field(
            min_length=1,
            description="Servers of NATS, 2.11 or newer, as `nats://HOST:PORT`, or `tls://HOST:PORT` "
            "for those that have to encrypt; the others of their cluster are found",
        ),
    ]
    user: Annotated[str | None, Field(description="The user at NATS, with a password")] = None
    password: Annotated[
        SecretStr | None,
        Field(description="The user's password, by `password#env: NATS_PASSWORD` in no file"),
    ] = None
    token: Annotated[
        SecretStr | None,
        Field(
            description="The token of servers that want one, by `token#env: NATS_TOKEN` in no file"
        ),
    ] = None
    credentials_file: Annotated[
        ConfigPath | None,
        Field(
            alias="credentials-file",
            description="A file with a user's JWT and seed (`.creds`), read at each connect; it needs "
            "`pip install 'mpchat[nats-credentials]'`",
        ),
    ] = None
    tls_ca: Annotated[
        ConfigPath | None,
        Field(
            alias="tls-ca",
            description="A file in PEM with the authorities that servers' certificates are checked by; "
            "by default the system's",
        ),
    ] = None
    domain: Annotated[
        str | None,
        Field(
            pattern=_NAME,
            description="The JetStream domain with the stream; by default the server's",
        ),
    ] = None
    stream: Annotated[
        str,
        Field(
            pattern=_NAME, description="The stream's name; its subjects are `name.*`, in lower case"
        ),
    ] = "ROOMS"
    create_stream: Annotated[
        bool,
        Field(
            alias="create-stream",
            description="Whether a stream that does not exist is created. One that exists is never "
            "changed; the service does not start with one that differs from these options",
        ),
    ] = True
    replicas: Annotated[
        int,
        Field(ge=1, le=5, description="Servers that keep the stream; odd, and 3 survive one's end"),
    ] = 1
    storage: Annotated[
        Literal["file", "memory"],
        Field(description="Where servers keep it; memory ends with them"),
    ] = "file"
    max_age: Annotated[
        Duration,
        Field(
            alias="max-age",
            ge=_LEAST_WINDOW,
            description="Time for which a message is kept and can be recovered",
        ),
    ] = 3600.0
    max_bytes: Annotated[
        int,
        Field(
            alias="max-bytes",
            gt=0,
            le=_MOST_BYTES,
            description="Bytes of all messages that are kept, beyond which the oldest go",
        ),
    ] = _GIB
    max_message: Annotated[
        int,
        Field(
            alias="max-message",
            gt=0,
            le=MAX_INT,
            description="Bytes of a stored message with its headers, at most `max_payload` of servers",
        ),
    ] = 128 * _KIB
    duplicate_window: Annotated[
        Duration,
        Field(
            alias="duplicate-window",
            ge=_LEAST_WINDOW,
            description="Time for which NATS remembers ids, so that a message sent again is not doubled; "
            "at most `max-age`",
        ),
    ] = 120.0
    check_interval: Annotated[
        Duration,
        Field(
            alias="check-interval",
            gt=0,
            description="Time between two looks for messages that did not come live",
        ),
    ] = 1.0
    connect_timeout: Annotated[
        Duration,
        Field(alias="connect-timeout", gt=0, description="Time for one server to let us in"),
    ] = 2.0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.user is None) != (self.password is None):
            raise PydanticCustomError("login", "expected both of user and password, or none")
        ways = (self.user, self.token, self.credentials_file)
        if sum(way is not None for way in ways) > 1:
            text = "expected at most one of user, token and credentials-file"
            raise PydanticCustomError("login", text)
        if self.credentials_file is not None and find_spec("nkeys") is None:
            text = "credentials-file needs nkeys: pip install 'mpchat[nats-credentials]'"
            raise PydanticCustomError("login", text)
        if self.duplicate_window > self.max_age:
            text = "expected duplicate-window to be at most max-age: NATS takes no other"
            raise PydanticCustomError("window", text)
        return self

    @property
    def subjects(self) -> Subjects:
        """The subjects of the stream."""
        return Subjects(self.stream, f"$JS.{self.domain}.API" if self.domain is not None else API)
