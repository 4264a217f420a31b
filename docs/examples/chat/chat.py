"""A chat: one page, names and rooms, in every worker. The page is in index.html, chat.css and chat.js."""

from __future__ import annotations

from pathlib import Path

import mpchat
from mpchat import Context, HttpRequest, Identity, Request, Response, RoomHandler, RoomsHandler

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
FOLDER = Path(__file__).parent
FILES = {path.name: path.read_bytes() for path in FOLDER.iterdir() if path.suffix in TYPES}


class Page(mpchat.HttpHandlerBase):
    """Sends the files of the page from memory; many files are a proxy's work."""

    name = "handler-page"

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        name = context.path_params.get("file", "index.html")
        if name not in FILES:
            raise mpchat.HttpError(404, "there is no such file")
        content_type = f"{TYPES[Path(name).suffix]}; charset=utf-8"
        answer = mpchat.response(200, FILES[name], content_type=content_type)
        # Whatever somebody says in a room, the page runs no script but its own, and asks no other host.
        answer.headers["Content-Security-Policy"] = "default-src 'self'"
        answer.headers["Cache-Control"] = "no-cache"
        return answer


class SaysSo(mpchat.AuthCheckerBase):
    """Takes everybody's word for a name. A service has a login in its place: docs/authentication.md."""

    name = "says-so"
    challenge = "Name"

    async def check(self, request: Request, context: Context) -> Identity | None:
        name = HttpRequest(request).query.get("name", "").strip()
        return Identity(name[:40]) if name.isprintable() and name else None


if __name__ == "__main__":
    components = mpchat.minimal_server_component_list().append(SaysSo)
    components.append(Page).append(Page, "handler-files")
    mpchat.daemon_main(components.append(RoomHandler).append(RoomsHandler))
