"""Asks the config service over HTTP.

Rules. An update is several attempts at most; those that a server or a network fails are followed by
another, all others are final. Each attempt has its own connection: one that was kept could be closed by
the server at any moment. Whatever the server sends, no more than the largest answer is read.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable

from aiohttp import (
    ClientConnectorCertificateError,
    ClientError,
    ClientResponse,
    ClientSession,
    ClientSSLError,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    hdrs,
)
from yarl import URL

from mpchat.config_service.errors import UpdateFailed
from mpchat.config_service.options import ClientOptions
from mpchat.config_service.schedule import retry_wait
from mpchat.errors import describe_os_error

_REDIRECTS = 10
_MOVED = {301, 302, 303, 307, 308}
_BECOMES_GET = {302, 303}
_CHUNK = 65536
_MAX_SHOWN = 200


class Client:
    """Fetches answers as the options say; ``below`` is as random.randrange."""

    def __init__(
        self,
        options: ClientOptions,
        sleep: Callable[[float], Awaitable[None]],
        below: Callable[[int], int],
    ) -> None:
        self._options = options
        self._sleep = sleep
        self._below = below
        self._headers = {
            hdrs.CONTENT_TYPE: "application/json",
            hdrs.ACCEPT_ENCODING: "gzip, deflate",
        }
        if options.token is not None:
            self._headers[hdrs.AUTHORIZATION] = f"Bearer {options.token.get_secret_value()}"

    async def fetch(self, body: bytes) -> bytes:
        """Return the body of the answer to this request.

        Raises:
            UpdateFailed: There is no answer, or it is not one of success.
        """
        attempt = 1
        while True:
            try:
                return await self._attempt(body)
            except UpdateFailed as failure:
                if not failure.again or attempt >= self._options.http_retries:
                    raise
            await self._sleep(retry_wait(attempt, self._below))
            attempt += 1

    async def _attempt(self, body: bytes) -> bytes:
        try:
            async with asyncio.timeout(self._options.http_timeout):
                return await self._ask(body)
        except TimeoutError as error:
            text = f"no answer within {self._options.http_timeout:g} s"
            raise UpdateFailed(text, again=True) from error
        except (ClientError, OSError) as error:
            raise UpdateFailed(_describe(error), again=True) from error

    async def _ask(self, body: bytes) -> bytes:
        url = URL(self._options.url, encoded=True)
        # Certificates of the system may have changed since the last update.
        context = ssl.create_default_context() if url.scheme == "https" else True
        method, content = hdrs.METH_POST, body
        async with ClientSession(
            connector=TCPConnector(ssl=context, force_close=True),
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=None),
        ) as session:
            for _redirect in range(_REDIRECTS + 1):
                async with session.request(
                    method, url, data=content, headers=self._headers, allow_redirects=False
                ) as response:
                    if response.status not in _MOVED:
                        return await self._read(response)
                    url = _target(response)
                if response.status in _BECOMES_GET:
                    method, content = hdrs.METH_GET, b""
        raise UpdateFailed(f"it redirects more than {_REDIRECTS} times")

    async def _read(self, response: ClientResponse) -> bytes:
        if not 200 <= response.status < 300:
            text = f"it answers with status {response.status}"
            raise UpdateFailed(text, again=response.status >= 500)
        content = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            content += chunk
            if len(content) > self._options.max_answer_size:
                text = f"the answer is larger than max-answer-size, {self._options.max_answer_size} bytes"
                raise UpdateFailed(text)
        return bytes(content)


def _target(response: ClientResponse) -> URL:
    """Return where a redirect leads to.

    Raises:
        UpdateFailed: To another host, which is to get neither names nor a token, to less security, or to
            nowhere.
    """
    location = response.headers.get(hdrs.LOCATION)
    try:
        target = response.url.join(URL(location or "", encoded=True))
    except ValueError:
        location = None
    if not location:
        raise UpdateFailed("it redirects to nowhere")
    if target.host != response.url.host or target.scheme not in {response.url.scheme, "https"}:
        place = f"{target.scheme}://{target.host}"[:100]
        raise UpdateFailed(f"it redirects to {place!a}: only the same host is followed")
    return target


def _describe(error: ClientError | OSError) -> str:
    """Return what the network has refused."""
    if isinstance(error, ClientConnectorCertificateError):
        cause = error.certificate_error
        reason = getattr(cause, "verify_message", "") or str(cause)
        return f"its certificate is not trusted: {reason}"
    # An error of TLS has a number of OpenSSL's, which is none of the system's.
    if isinstance(error, OSError) and not isinstance(error, ClientSSLError) and error.strerror:
        return f"it cannot be reached: {describe_os_error(error)}"
    # What aiohttp finds wrong with an answer is in its text, on several lines.
    text = " ".join(str(error).split())[:_MAX_SHOWN]
    return f"the connection failed: {text or type(error).__name__}"
