"""A locust user that speaks WebSocket: locust itself has none.

Rules. Frames and handshake by websockets' Sans-I/O client over a gevent socket, so thousands of users
share one process. Every round trip is one locust request event of type WS; what is wrong (a refused
connection, another answer than what was sent, silence) is a failure of that event. A user that is stopped
closes with 1000, and that is no failure.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gevent.socket
from locust import User
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

TIMEOUT = 10.0
"""Seconds that connecting, or one answer, may take."""


class WebSocketFailure(Exception):
    """The service did not do what a client may expect."""


class WebSocketConnection:
    """One client connection."""

    def __init__(self, address: str, subprotocol: str | None = None) -> None:
        uri = parse_uri(address)
        offered = None if subprotocol is None else [Subprotocol(subprotocol)]
        self._protocol = ClientProtocol(uri, subprotocols=offered)
        self._socket = gevent.socket.create_connection((uri.host, uri.port), timeout=TIMEOUT)
        self._messages: list[str | bytes] = []
        self._protocol.send_request(self._protocol.connect())
        self._flush()
        while self._protocol.state is State.CONNECTING:
            self._read()
        if self._protocol.state is not State.OPEN:
            self._socket.close()
            raise WebSocketFailure(f"handshake refused: {self._protocol.handshake_exc}")
        if self._protocol.subprotocol != subprotocol:
            self._socket.close()
            raise WebSocketFailure(f"the service does not speak {subprotocol}")

    def send(self, message: str) -> None:
        self._protocol.send_text(message.encode())
        self._flush()

    def recv(self) -> str | bytes:
        while not self._messages:
            if self._protocol.state is not State.OPEN:
                raise WebSocketFailure(f"closed by the service: {self._ending()}")
            self._read()
        return self._messages.pop(0)

    def _ending(self) -> str:
        return str(self._protocol.close_rcvd or "without a Close")

    def recv_all(self) -> list[str | bytes]:
        """Return what has come, and wait for nothing."""
        self.wait(0.001)
        messages, self._messages = self._messages, []
        return messages

    def wait(self, seconds: float) -> None:
        """Sit idle, and notice if the service closes meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                self._read()
            except TimeoutError:
                break
            if self._protocol.state is not State.OPEN:
                raise WebSocketFailure(f"closed by the service: {self._ending()}")
        self._socket.settimeout(TIMEOUT)

    def close(self) -> None:
        try:
            if self._protocol.state is State.OPEN:
                self._protocol.send_close(1000)
                self._flush()
                while not self._ended():
                    self._read()
        finally:
            self._socket.close()

    def _ended(self) -> bool:
        return self._protocol.state is State.CLOSED

    def drop(self) -> None:
        """Close the socket without a goodbye."""
        self._socket.close()

    def _flush(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self._socket.sendall(data)

    def _read(self) -> None:
        data = self._socket.recv(65536)
        if data:
            self._protocol.receive_data(data)
        else:
            self._protocol.receive_eof()
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.TEXT:
                self._messages.append(bytes(event.data).decode())
            elif isinstance(event, Response):
                continue
        self._flush()


class WebSocketUser(User):
    """Base of the scenarios; connects to ``host`` when a task asks for it."""

    abstract = True
    host = "ws://localhost:8080/chat"

    def on_start(self) -> None:
        self.connection: WebSocketConnection | None = None

    def on_stop(self) -> None:
        self.disconnect()

    def connect(self) -> None:
        """Connect, reported as one event."""
        address = self.host
        assert address is not None
        self.connection = self.report("connect", lambda: WebSocketConnection(address))

    def disconnect(self) -> None:
        """Close with 1000; a connection that is lost already needs no close."""
        connection, self.connection = self.connection, None
        if connection is not None:
            try:
                connection.close()
            except OSError:
                return

    def echo(self, name: str, messages: list[str]) -> None:
        """Send all, receive all, compare."""
        if self.connection is None:
            self.connect()
        connection = self.connection
        if connection is None:
            return

        def exchange() -> None:
            for message in messages:
                connection.send(message)
            for message in messages:
                answer = connection.recv()
                if answer != message:
                    raise WebSocketFailure(f"sent {message[:40]!r}, received {answer[:40]!r}")

        self.report(name, exchange, sum(map(len, messages)))

    def report(self, name: str, action: Callable[[], Any], length: int = 0) -> Any:
        """Run an action and fire its request event; a failure drops the connection."""
        begun = time.perf_counter()
        failure: Exception | None = None
        result = None
        try:
            result = action()
        except (OSError, WebSocketFailure) as error:
            failure = error
            if self.connection is not None:
                self.connection.drop()
                self.connection = None
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=(time.perf_counter() - begun) * 1000,
            response_length=length,
            exception=failure,
            context={},
        )
        return result
