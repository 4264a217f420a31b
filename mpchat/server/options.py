"""The section ``server`` of the static config."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from mpchat.config.types import LARGEST, ByteSize, Duration, OptionsModel, Port


class ConnectionOptions(OptionsModel):
    """What a client's socket may do before it is a WebSocket."""

    keepalive_timeout: Annotated[
        int,
        Field(
            ge=1,
            le=LARGEST,
            description="Seconds that a connection may stay open without a request after its first one",
        ),
    ] = 600


class HandlerDefaults(OptionsModel):
    """Limits of requests, for all handlers."""

    max_url_size: Annotated[ByteSize, Field(description="Longest request target; then 414")] = 8192
    max_headers_size: Annotated[
        ByteSize, Field(description="Largest request line with headers; then 431")
    ] = 65536
    max_request_size: Annotated[
        ByteSize, Field(description="Largest body of a plain request; then 413")
    ] = 1024 * 1024


def _mode_of_socket(value: Any) -> Any:
    """Return the mode as its octal digits.

    They may stand without quotes, as in userver's configs: what YAML makes of 0660, an octal number, is
    never one of these.
    """
    text = str(value)
    if value is not None and not re.fullmatch("[67][0-7]{2}", text):
        raise PydanticCustomError("mode", "expected a mode such as '660', from '600' to '777'")
    return None if value is None else text


def _check_address(address: str) -> str:
    try:
        # As the system does it for what is no number; a name may still be unknown when it is needed.
        address.encode("idna")
    except UnicodeError as error:
        raise PydanticCustomError(
            "address", "expected an IP address or the name of a host"
        ) from error
    return address


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
            description="Mode of the Unix socket, such as '660'; clients need the right to write. By "
            "default all rights but those that the umask takes away",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        _check_place(self)
        return self


class ListenerOptions(PortOptions):
    """Where clients connect: in one place, named here or by the one entry of ``ports``."""

    ports: Annotated[
        tuple[PortOptions, ...],
        Field(
            strict=False,
            description="userver's list of places; here it has at most one entry, with address, port or "
            "unix-socket, in place of those above",
        ),
    ] = ()
    task_processor: Annotated[
        str | None, Field(description="The pool of workers; by default default_task_processor")
    ] = None
    backlog: Annotated[
        int,
        Field(ge=1, le=LARGEST, description="Connections that may wait on each listening socket"),
    ] = 1024
    max_connections: Annotated[
        int,
        Field(ge=1, le=LARGEST, description="Open sockets of the service; further ones get 503"),
    ] = 32768
    max_connections_per_worker: Annotated[
        int | None,
        Field(
            ge=1,
            le=LARGEST,
            description="Open sockets of one worker; further ones get 503. By default only the "
            "service's number and the worker's descriptors limit them",
        ),
    ] = None
    max_handshakes: Annotated[
        int | None,
        Field(
            ge=1,
            le=LARGEST,
            description="Open sockets of the service that are no WebSocket, or not yet; further ones get "
            "503. By default handshake-timeout alone limits them: with a number, whoever holds so many "
            "keeps all others out",
        ),
    ] = None

    ipv6_prefix: Annotated[
        int,
        Field(
            ge=1,
            le=128,
            description="Bits of an IPv6 address that limits per address look at: all addresses that "
            "begin with the same ones are one client",
        ),
    ] = 64

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
        elif len(self.ports) > 1 or {self.port, self.unix_socket, self.unix_socket_permissions} != {
            None
        }:
            text = "mpchat listens in one place: expected port, unix-socket or one entry of ports"
            raise PydanticCustomError("place", text)
        return self

    def in_place(self) -> ListenerOptions:
        """Return the same options with the place that an entry of ``ports`` names as their own."""
        if not self.ports:
            return self
        (place,) = self.ports
        address = place.address if place.address is not None else self.address
        changes = {
            "address": address,
            "port": place.port,
            "unix_socket": place.unix_socket,
            "unix_socket_permissions": place.unix_socket_permissions,
        }
        return self.model_copy(update={**changes, "ports": ()})


def _check_place(options: PortOptions) -> None:
    if (options.port is None) == (options.unix_socket is None):
        raise PydanticCustomError("place", "expected either port or unix-socket")
    if options.unix_socket_permissions is not None and options.unix_socket is None:
        text = "unix-socket-permissions needs a unix-socket"
        raise PydanticCustomError("place", text)


class ServerOptions(OptionsModel):
    """The server itself."""

    listener: Annotated[ListenerOptions, Field(description="The port for clients")]
    logger_access: Annotated[
        str | None,
        Field(
            description="The logger, one of logging.loggers, that takes a line for each request and "
            "closed connection; by default each handler's own"
        ),
    ] = None
    handshake_timeout: Annotated[
        Duration,
        Field(
            alias="handshake-timeout",
            description="Time for a request head from its first byte; then 408. So long may a new "
            "connection say nothing, too, before it is closed",
        ),
    ] = 10.0
    body_timeout: Annotated[
        Duration,
        Field(
            alias="body-timeout",
            description="Time without a byte of a request's body that has not arrived whole; then 408",
        ),
    ] = 30.0
    write_timeout: Annotated[
        Duration,
        Field(
            alias="write-timeout",
            description="Time in which a client takes nothing of the responses to its plain requests "
            "that it has not read; then cut off. 0s: any",
        ),
    ] = 10.0
    worker_hang_timeout: Annotated[
        Duration,
        Field(
            ge=1,
            alias="worker-hang-timeout",
            description="A worker whose event loop stands still for so long is replaced, its stack "
            "logged; at least 1s",
        ),
    ] = 15.0
    slow_callback_threshold: Annotated[
        Duration,
        Field(
            alias="slow-callback-threshold",
            description="Code that holds a worker's event loop for so long is logged as a warning, with "
            "its stack and its component, at most every ten seconds. 0s: never",
        ),
    ] = 0.25
    worker_max_lifetime: Annotated[
        Duration | None,
        Field(
            ge=1,
            alias="worker-max-lifetime",
            description="A worker that has served for so long is replaced as by `mpchat restart SLOT`, "
            "up to a fifth of the time earlier so that not all are at once; by default never",
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
