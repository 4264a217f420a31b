"""The length of a request's body, and whether its sender waits for 100, by RFC 9112, section 6. Pure.

Rules. If the end of a body is in doubt, the request is refused and the connection closed: behind a proxy
that disagrees about the end, the rest would be somebody else's request. Of the transfer codings only
chunked is decoded.
"""

from __future__ import annotations

import re
from http import HTTPStatus

from mpchat.http.body import too_large
from mpchat.http.errors import HttpError, bad_request
from mpchat.http.fields import Fields, split_list

_DIGITS = re.compile("[0-9]+")


def body_length(fields: Fields, version: str) -> int | None:
    """Return the bytes of the body, None if it comes in chunks.

    Raises:
        HttpError: 400; 413 for a length beyond any limit; 501 for an unknown coding.
    """
    lengths = fields.get("content-length")
    if "transfer-encoding" in fields:
        codings = split_list(fields["transfer-encoding"])
        # 6.1: faulty with HTTP/1.0, doubtful with a length, and chunked comes once and last.
        if (
            version == "HTTP/1.0"
            or lengths
            or codings[-1:] != ("chunked",)
            or "chunked" in codings[:-1]
        ):
            raise bad_request("the end of the body is ambiguous")
        if len(codings) > 1:
            raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "this transfer coding is unknown")
        return None
    if not lengths:
        return 0
    if len(lengths) > 1 or _DIGITS.fullmatch(lengths[0]) is None:
        raise bad_request("malformed Content-Length")
    digits = lengths[0].lstrip("0") or "0"
    if len(digits) > 18:
        raise too_large()
    return int(digits)


def expects_continue(fields: Fields, version: str) -> bool:
    """Return whether the client waits for 100 before it sends the body (RFC 9110, 10.1.1).

    Raises:
        HttpError: 417 for any other expectation.
    """
    if "expect" not in fields:
        return False
    expected = split_list(fields["expect"])
    if any(item != "100-continue" for item in expected):
        raise HttpError(HTTPStatus.EXPECTATION_FAILED, "this expectation is unknown")
    return bool(expected) and version != "HTTP/1.0"
