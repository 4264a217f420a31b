"""The section ``server`` of the static config."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from mpchat.config.types import MAX_INT, ByteSize, Duration, OptionsModel, Port
from mpchat.server.trusted import TrustedProxy
from mpchat.tls.options import TlsOptions

OFF: Literal["off"] = "off"
_MIN_TOKEN = 16


class ConnectionOptions(OptionsModel):
    """Limits of a client's socket before it is a WebSocket."""

    keepalive_timeout: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_INT,
            description="Seconds that a connection may stay open between requests",
        ),
    ] = 600


class HandlerDefaults(OptionsModel):
    """Limits of requests, for all handlers."""

    max_url_size: Annotated[ByteSize, Field(description="Longest request target; then 414")] = 8192
    max_headers_size: Annotated[
        ByteSize, Field(description="Largest request line with headers; then 431")
    ] = 65536
    max_request_size: Annotated[
        ByteSize, Field(description="Largest body of a plain request, in bytes; then 413")
    ] = 1024 * 1024


def _mode_of_socket(value: Any) -> Any:
    """Return the mode as its octal digits.

    The digits need no quotes, as in userver's configs. YAML reads 0660 as an octal number, 432, which is
    refused: no such number has the digits of an allowed mode.
    """
    text = str(value)
    if value is not None and not re.fullmatch("[67][0-7]{2}", text):
        raise PydanticCustomError("mode", "expected a mode such as '660', from '600' to '777'")
    return None if value is None else text


def _off(value: Any) -> Any:
    """Return what an unquoted ``off`` means; YAML reads it as false."""
    return OFF if value is False else value


def _check_address(address: str) -> str:
    try:
        # The system encodes a host name the same way. It may still not find the name later.
        address.encode("idna")
    except UnicodeError as error:
        raise PydanticCustomError("address", "expected an IP address or a host name") from error
    return address


def _check_host(name: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", name):
        raise PydanticCustomError("host", "expected a host name in lower case, without a port")
    return name


def _check_token(token: SecretStr) -> SecretStr:
    if len(token) < _MIN_TOKEN:
        # Its text does not repeat the token.
        raise ValueError(f"expected a secret of at least {_MIN_TOKEN} characters")
    return token


HostName: TypeAlias = Annotated[str, AfterValidator(_check_host)]


ConsolePool: TypeAlias = Annotated[
    str | None,
    Field(
        description="userver's pool for it, which has to be one of task_processors. The console is "
        "one process whatever its size"
    ),
]


class PortOptions(OptionsModel):
    """A place to listen: an entry of the listener's ``ports``."""

    address: Annotated[
        Annotated[str, AfterValidator(_check_address)] | None,
        Field(description="Address to listen on; by default all, IPv6 and IPv4"),
    ] = None
    port: Annotated[Port | None, Field(description="TCP port; 0 lets the system choose")] = None
    unix_socket: Annotated[
        str | None,
        Field(alias="unix-socket", description="Path of a Unix socket instead of a port"),
    ] = None
    unix_socket_permissions: Annotated[
        str | None,
        BeforeValidator(_mode_of_socket, json_schema_input_type=str),
        Field(
            alias="unix-socket-permissions",
            description="Mode of the Unix socket, such as '660'; clients need write permission. By "
            "default all permissions except those that the umask removes",
        ),
    ] = None
    tls: Annotated[
        TlsOptions | None,
        Field(description="TLS for everybody who connects here, below; by default plain TCP"),
    ] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        _check_place(self)
        return self


class ListenerOptions(PortOptions):
    """The one place where clients connect, given here or by the single entry of ``ports``."""

    ports: Annotated[
        tuple[PortOptions, ...],
        Field(
            strict=False,
            description="userver's list of places; here at most one entry, whose address, port or "
            "unix-socket replaces those above",
        ),
    ] = ()
    task_processor: Annotated[
        str | None, Field(description="The pool of workers; by default default_task_processor")
    ] = None
    backlog: Annotated[
        int,
        Field(
            ge=1, le=MAX_INT, description="Connections that each listening socket may keep waiting"
        ),
    ] = 1024
    max_connections: Annotated[
        int,
        Field(ge=1, le=MAX_INT, description="Open sockets of the service; more get 503"),
    ] = 32768
    max_connections_per_worker: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_INT,
            description="Open sockets of one worker; more get 503. By default only max_connections and "
            "the worker's descriptors limit them",
        ),
    ] = None
    max_handshakes: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_INT,
            description="Open sockets of the service that are not WebSockets, or not yet; more get 503. "
            "By default only handshake-timeout limits them: with a number, a client that holds as many "
            "keeps all others out",
        ),
    ] = None

    max_connections_per_user: Annotated[
        int | None,
        Field(
            ge=1,
            le=MAX_INT,
            description="Open WebSocket connections of a user in the service; more get 503. Counted is "
            "who a handshake was from (`context.user`); by default any number",
        ),
    ] = None
    ipv6_prefix: Annotated[
        int,
        Field(
            ge=1,
            le=128,
            description="Leading bits of an IPv6 address that limits per address compare: addresses "
            "that share them count as one client",
        ),
    ] = 64

    proxy_protocol: Annotated[
        Literal["v1", "v2", "off"],
        BeforeValidator(_off, json_schema_input_type=str),
        Field(
            alias="proxy-protocol",
            description="The version of the PROXY protocol by which a TCP proxy says who its client is. "
            "Every connection has to come from one of `trusted-proxies` and begin with a header, within "
            "3 s, or is closed. By default a header is a bad request",
        ),
    ] = OFF
    forwarded: Annotated[
        Literal["x-forwarded-for", "forwarded", "off"],
        BeforeValidator(_off, json_schema_input_type=str),
        Field(
            description="The header by which an HTTP proxy says who its client is: the last address in "
            "it, from the right, that is not one of `trusted-proxies`. From anybody else the header is "
            "ignored",
        ),
    ] = OFF
    trusted_proxies: Annotated[
        tuple[TrustedProxy, ...],
        Field(
            strict=False,
            alias="trusted-proxies",
            description="Proxies that are believed when they say who their client is: addresses, "
            "networks (`10.0.0.0/8`), `unix` for the other ends of a Unix socket",
        ),
    ] = ()

    connection: Annotated[
        ConnectionOptions, Field(description="Options of client sockets, below")
    ] = ConnectionOptions()
    handler_defaults: Annotated[
        HandlerDefaults,
        Field(alias="handler-defaults", description="Limits of requests, below"),
    ] = HandlerDefaults()

    @model_validator(mode="before")
    @classmethod
    def _no_open_socket(cls, section: Any) -> Any:
        if isinstance(section, dict) and section.get("listen-socket-fd") is not None:
            text = "listen-socket-fd is userver's: mpchat opens its sockets, expected port or unix-socket"
            raise PydanticCustomError("place", text)
        return section

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if not self.ports:
            _check_place(self)
        elif len(self.ports) > 1 or any(
            given is not None
            for given in (self.port, self.unix_socket, self.unix_socket_permissions, self.tls)
        ):
            text = "mpchat listens in one place: expected port, unix-socket or one entry of ports"
            raise PydanticCustomError("place", text)
        return self

    @model_validator(mode="after")
    def _somebody_trusted(self) -> Self:
        if {self.proxy_protocol, self.forwarded} != {OFF} and not self.trusted_proxies:
            text = "proxy-protocol and forwarded need trusted-proxies: nobody else is believed"
            raise PydanticCustomError("trust", text)
        return self

    def in_place(self) -> ListenerOptions:
        """Return these options with the place of the entry of ``ports`` as their own."""
        if not self.ports:
            return self
        (place,) = self.ports
        address = place.address if place.address is not None else self.address
        changes = {
            "address": address,
            "port": place.port,
            "unix_socket": place.unix_socket,
            "unix_socket_permissions": place.unix_socket_permissions,
            "tls": place.tls,
        }
        return self.model_copy(update={**changes, "ports": ()})


class MonitorListenerOptions(PortOptions):
    """Where the console listens for operators; without this section there is none."""

    address: Annotated[
        Annotated[str, AfterValidator(_check_address)] | None,
        Field(description="Address to listen on; by default this machine's own, 127.0.0.1"),
    ] = "127.0.0.1"
    unix_socket_permissions: Annotated[
        str | None,
        BeforeValidator(_mode_of_socket, json_schema_input_type=str),
        Field(
            alias="unix-socket-permissions",
            description="Mode of the Unix socket; by default '600', so that it is this user's alone",
        ),
    ] = None
    task_processor: ConsolePool = None
    backlog: Annotated[
        int, Field(ge=1, le=MAX_INT, description="Connections that may wait to be accepted")
    ] = 1024
    token: Annotated[
        Annotated[SecretStr, AfterValidator(_check_token)] | None,
        Field(
            description="A secret, of at least 16 characters, by `token#env` or `token#file`. With it, "
            "every request needs `Authorization: Bearer TOKEN`; the page asks for it",
        ),
    ] = None
    hosts: Annotated[
        tuple[HostName, ...],
        Field(
            strict=False,
            description="Names, beside localhost and IP addresses, by which clients may address the "
            "console, such as that of a proxy in front of it. A page that has its own name lead here "
            "is refused with 421",
        ),
    ] = ()

    def in_place(self) -> MonitorListenerOptions:
        """Return these options with the default mode of a Unix socket."""
        if self.unix_socket is None or self.unix_socket_permissions is not None:
            return self
        return self.model_copy(update={"unix_socket_permissions": "600"})


def _check_place(options: PortOptions) -> None:
    if (options.port is None) == (options.unix_socket is None):
        raise PydanticCustomError("place", "expected either port or unix-socket")
    if options.unix_socket_permissions is not None and options.unix_socket is None:
        text = "unix-socket-permissions needs a unix-socket"
        raise PydanticCustomError("place", text)


class ServerOptions(OptionsModel):
    """The server itself."""

    listener: Annotated[ListenerOptions, Field(description="The port for clients")]
    listener_monitor: Annotated[
        MonitorListenerOptions | None,
        Field(
            alias="listener-monitor",
            description="Where the console listens, below; by default there is no console",
        ),
    ] = None
    logger_access: Annotated[
        str | None,
        Field(
            description="The logger, one of logging.loggers, for a line about each request and closed "
            "connection; by default each handler's own"
        ),
    ] = None
    handshake_timeout: Annotated[
        Duration,
        Field(
            alias="handshake-timeout",
            description="Time for a request head from its first byte; then 408. Also the time that a "
            "new connection may stay silent before it is closed",
        ),
    ] = 10.0
    body_timeout: Annotated[
        Duration,
        Field(
            alias="body-timeout",
            description="Time without a byte of a request's incomplete body; then 408",
        ),
    ] = 30.0
    write_timeout: Annotated[
        Duration,
        Field(
            alias="write-timeout",
            description="Time in which a client reads nothing of the unread responses to its plain "
            "requests; then cut off. 0s: any",
        ),
    ] = 10.0
    worker_hang_timeout: Annotated[
        Duration,
        Field(
            ge=1,
            alias="worker-hang-timeout",
            description="A worker whose event loop stands still for this time is replaced and its stack "
            "logged; at least 1s",
        ),
    ] = 15.0
    slow_callback_threshold: Annotated[
        Duration,
        Field(
            alias="slow-callback-threshold",
            description="Code that holds a worker's event loop for this time is logged as a warning, "
            "with its stack and its component, at most every ten seconds for each. 0s: never",
        ),
    ] = 0.25
    worker_max_lifetime: Annotated[
        Duration | None,
        Field(
            ge=1,
            alias="worker-max-lifetime",
            description="A worker that has served for this time is replaced as by `mpchat restart "
            "SLOT`, up to a fifth earlier, so that not all are replaced at once; by default never",
        ),
    ] = None
    control_socket: Annotated[
        str | None,
        Field(
            alias="control-socket",
            description="Path of the socket for operators; by default control.sock in "
            "$RUNTIME_DIRECTORY, else mpchat-PORT.sock in $XDG_RUNTIME_DIR",
        ),
    ] = None
