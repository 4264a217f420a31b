"""A config service of a test's own: it keeps a log of changes, as userver's mock does, or misbehaves.

It serves in threads, so that a test in whatever form can ask and change it.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    """By names in lower case"""
    content: bytes

    @property
    def body(self) -> dict[str, Any]:
        """What a client asks for."""
        found: dict[str, Any] = json.loads(self.content)
        return found


@dataclass(frozen=True)
class Reply:
    """What is answered."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    """Bytes that are announced and never come"""
    stalls: bool = False
    """Nothing is answered until the server ends"""


Behave = Callable[[Asked], Reply]


class ConfigServer:
    """The server; ``behave`` replaces what it answers."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.behave: Behave = self.follow
        self.values: dict[str, Any] = {}
        self._log: list[dict[str, Any]] = []
        """Changed values, and None for names that were removed, of each commit"""
        self._context = context
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.port = 0
        self.come_back()

    @property
    def url(self) -> str:
        """Its address, as ``config-url`` takes it."""
        return f"{'http' if self._context is None else 'https'}://127.0.0.1:{self.port}"

    @property
    def time(self) -> str:
        """Its time, as the next answer will have it."""
        return f"{len(self._log):06}"

    def come_back(self) -> None:
        """Listen, again at the same port."""
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                server._answer(self)

            def do_GET(self) -> None:
                server._answer(self)

            def log_message(self, *_args: object) -> None:
                return

        self._ended.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        # A client that does not trust the server, or goes away, is part of the test.
        self._server.handle_error = lambda *_args: None  # type: ignore[method-assign]
        if self._context is not None:
            self._server.socket = self._context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def die(self) -> None:
        """Refuse connections from now on."""
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def set(self, **values: Any) -> None:
        """Commit these values."""
        self._commit(values)

    def remove(self, *names: str) -> None:
        """Commit that these have no values any more."""
        self._commit(dict.fromkeys(names))

    def _commit(self, changes: dict[str, Any]) -> None:
        with self._lock:
            self._log.append(changes)
            self.values |= changes
            self.values = {name: v for name, v in self.values.items() if v is not None}

    def follow(self, asked: Asked) -> Reply:
        """Answer as userver's mock does."""
        with self._lock:
            return answer(**self._since(asked.body))

    def _since(self, body: Mapping[str, Any]) -> dict[str, Any]:
        ids, since = body.get("ids"), body.get("updated_since")
        found = self.values
        removed: list[str] = []
        if since is not None:
            found = {k: v for one in self._log[int(since) :] for k, v in one.items()}
            removed = [name for name, v in found.items() if v is None]
        return {
            "configs": {
                name: v
                for name, v in found.items()
                if v is not None and (ids is None or name in ids)
            },
            "removed": removed,
            "updated_at": self.time,
        }

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("Content-Length", 0))
        headers = {name.lower(): value for name, value in handler.headers.items()}
        # As it came: http.server drops slashes.
        path = handler.requestline.split()[1]
        asked = Asked(handler.command, path, headers, handler.rfile.read(length))
        self.asked.append(asked)
        reply = self.behave(asked)
        handler.close_connection = True
        if reply.stalls:
            self._ended.wait()
            return
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        chunks = [reply.body] if isinstance(reply.body, bytes) else reply.body
        if isinstance(reply.body, bytes):
            handler.send_header("Content-Length", str(len(reply.body) + reply.missing))
        handler.end_headers()
        for chunk in chunks:
            handler.wfile.write(chunk)


def answer(**fields: Any) -> Reply:
    """Return an answer with these fields."""
    return Reply(json.dumps(fields).encode(), headers={"Content-Type": "application/json"})


@contextmanager
def config_server(context: ssl.SSLContext | None = None) -> Iterator[ConfigServer]:
    """Serve; it may be dead at the end."""
    server = ConfigServer(context)
    try:
        yield server
    finally:
        server.die()
