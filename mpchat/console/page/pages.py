"""The page itself, and the one that asks for the token.

Rules. Each is one file. It runs no script and has no style but those in the file, which the policy names
by their hashes, and asks nobody but us: whatever text it shows, it stays a text.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
from pathlib import Path

from aiohttp import web

from mpchat.console.guard import Guard

_FOLDER = Path(__file__).parent
_DELAY_SECONDS = 0.5
"""Seconds until somebody hears that a token is wrong."""
_MISTAKE = "<!-- mistake -->"


class Page:
    """Sends a file of this package as a page."""

    def __init__(self, name: str) -> None:
        self._text = (_FOLDER / name).read_text(encoding="utf-8")
        self._headers = {
            "Content-Security-Policy": policy_of(self._text),
            # Not no-referrer, with which browsers hide the origin of a form.
            "Referrer-Policy": "same-origin",
        }

    async def handle(self, _request: web.Request) -> web.Response:
        """Answer with the page."""
        return self.response()

    def response(self, status: int = 200, mistake: str = "") -> web.Response:
        """Return the page; ``mistake`` is shown in its place for one."""
        text = self._text.replace(_MISTAKE, mistake)
        return web.Response(
            status=status, text=text, content_type="text/html", headers=self._headers
        )


class Login:
    """Takes the token that somebody has typed."""

    def __init__(self, guard: Guard, page: Page, delay: float = _DELAY_SECONDS) -> None:
        self._delay = delay
        self._guard = guard
        self._page = page

    async def handle(self, request: web.Request) -> web.Response:
        """Answer with the cookie, or with the page again."""
        given = (await request.post()).get("token")
        response = (
            self._guard.log_in(given, secure=request.secure) if isinstance(given, str) else None
        )
        if response is not None:
            return response
        await asyncio.sleep(self._delay)
        return self._page.response(401, "That is not this console's token.")


def policy_of(page: str) -> str:
    """Return the Content-Security-Policy that allows what is in a page, and nothing else."""
    scripts, styles = _hashes("script", page), _hashes("style", page)
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; connect-src 'self'; "
        "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def _hashes(tag: str, page: str) -> str:
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(text.encode()).digest() for text in found)
    return " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests) or "'none'"
