"""A config service for tests: it has the values that a test sets, and knows which of them are in force.

Rules. It tells by the client's own words: a client asks for what has changed since the last answer that
it could use. One that asks again since an older time has refused the newest answer, or has not got it.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Collection, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mpchat.testsuite.changelog import Changelog
from mpchat.testsuite.service import DEADLINE

PREFIX = "/configs-service"
PATH = f"{PREFIX}/configs/values"
_INTERVAL = 0.05
"""Seconds within which it ends"""


class MockConfigsService:
    """Answers ``POST /configs-service/configs/values`` on a port of its own, in threads.

    Attributes:
        url: What ``dynamic-config-client.config-url`` is to be.
        requests: The bodies of all requests so far.
    """

    def __init__(self, values: Mapping[str, Any], disabled: Collection[str] = ()) -> None:
        self.requests: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._changelog = Changelog(values, disabled)
        self._taken = ""
        self._answered = 0
        """Answers that had the newest state"""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_INTERVAL,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}{PREFIX}"

    def commit(self, values: Mapping[str, Any], disabled: Collection[str] = ()) -> None:
        """Make these all values there are; ``disabled`` are to have their static defaults."""
        with self._changed:
            self._changelog.commit(values, disabled)
            self._answered = 0

    def wait_taken(self, refusal: Callable[[], str | None]) -> None:
        """Wait until the service uses the newest values in every worker.

        ``refusal`` returns why the service refused its last update, None if it did not.

        Raises:
            ValueError: It refused them; the text says why.
            TimeoutError: It did not ask for them, or did not say what became of them.
        """
        end = time.monotonic() + DEADLINE
        while not self._is_taken(_INTERVAL):
            if self._answered > 1 and (why := refusal()) is not None:
                raise ValueError(why)
            if time.monotonic() > end:
                raise TimeoutError(
                    f"within {DEADLINE:g} s the service did not take the values of "
                    f"{self._changelog.timestamp}; its last request: {self.requests[-1:]}"
                )

    def answer(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a request."""
        with self._changed:
            self.requests.append(dict(body))
            since = body.get("updated_since") or ""
            updates = self._changelog.get_updated_since(since, body.get("ids") or None)
            if since == updates.timestamp:
                self._taken = since
            else:
                self._answered += 1
            self._changed.notify_all()
        found: dict[str, Any] = {"configs": updates.values, "updated_at": updates.timestamp}
        if updates.removed:
            found["removed"] = updates.removed
        if updates.kill_switches_disabled:
            found["kill_switches_disabled"] = updates.kill_switches_disabled
        return found

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _is_taken(self, seconds: float) -> bool:
        with self._changed:
            newest = self._changelog.timestamp
            return self._changed.wait_for(lambda: self._taken == newest, seconds)


def _handler(service: MockConfigsService) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.path != PATH:
                self.send_error(404)
                return
            content = json.dumps(service.answer(json.loads(body or b"{}"))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: ``requests`` has all of them."""

    return Handler
