"""HTTP beside a socket: a page from memory, a call with validated JSON, and live results."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from results import Results
from votes import Votes

import mpchat
from mpchat import Components, Context, HttpRequest, Response

PAGE = Path(__file__).with_suffix(".html").read_bytes()


class Page(mpchat.HttpHandlerBase):
    """Sends one page from memory; many files are a proxy's work."""

    name = "handler-page"

    async def handle_request(self, request: HttpRequest, context: Context) -> Response:
        return mpchat.response(200, PAGE, content_type="text/html; charset=utf-8")


class Ballot(BaseModel):
    """The body of a vote; any other gets 400, with the place of each mistake."""

    choice: Literal["tea", "coffee"]


class Vote(mpchat.HttpHandlerJsonBase):
    """Takes a vote, and answers with all votes."""

    name = "handler-vote"
    body_type = Ballot

    def __init__(self, options: Any, components: Components) -> None:
        super().__init__(options, components)
        self._votes = components.find(Votes)

    async def handle_request_json(
        self, request: HttpRequest, body: Ballot, context: Context
    ) -> dict[str, int]:
        self._votes.add(body.choice)
        return self._votes.counts


if __name__ == "__main__":
    components = mpchat.minimal_server_component_list()
    for cls in (Votes, Page, Vote, Results):
        components.append(cls)
    mpchat.daemon_main(components)
