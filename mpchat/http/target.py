"""The target of a request in its four forms, by RFC 9112, section 3.2. Pure.

Rules. URIs that normalisation makes equal name the same resource (RFC 9110, 4.2.3), so paths are compared
in one form: unreserved characters plain, dot segments removed (RFC 3986, 6.2.2). Characters that browsers
do not encode are accepted, though RFC 3986 requires it; characters that neither allows are refused.
"""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple

from mpchat.http.authority import split_authority
from mpchat.http.errors import HttpError, bad_request

_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/|\[\]-]++|%(?!00)[0-9A-Fa-f]{2})*")
# A percent sign need not encode anything here: the handler interprets the query.
_QUERY = re.compile(r"[^#\"<>]*")
_ABSOLUTE = re.compile(r"(?i:https?)://([^/?#]*)([^?]*)(.*)")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_BEHIND_PATH = re.compile("[?#]")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


class Target(NamedTuple):
    """A target in parts: the path in its normal form, or ``*``; the authority of the absolute form."""

    path: str
    authority: str | None = None


def parse_target(method: str, target: str) -> Target:
    """Return the parts of a target of visible ASCII characters.

    Raises:
        HttpError: 400; 501 for CONNECT, since this is not a proxy.
    """
    if method == "CONNECT":
        # RFC 9112, 3.2.3: host and port, both.
        authority = split_authority(target)
        if authority is None or authority[1] is None:
            raise bad_request("CONNECT needs host:port")
        raise HttpError(HTTPStatus.NOT_IMPLEMENTED, "this is not a proxy")
    if target.startswith("/"):
        path, _, query = target.partition("?")
        return Target(_checked(path, query))
    if target == "*":
        if method != "OPTIONS":
            # RFC 9112, 3.2.4.
            raise bad_request("* is a target of OPTIONS only")
        return Target(target)
    # RFC 9112, 3.2.2; RFC 6455, 4.1: a request for a ws URI uses http, for wss https.
    found = _ABSOLUTE.fullmatch(target)
    # RFC 9110, 4.2.1 and 4.2.4: neither an empty host nor user information.
    if found is None or split_authority(found[1]) is None:
        raise bad_request("the target is neither a path nor an http URI")
    return Target(_checked(found[2] or "/", found[3][1:]), found[1])


def normalise(path: str) -> str:
    """Return the normal form of a path."""
    if "%" in path:
        path = _ENCODED.sub(_decode, path)
    return _remove_dots(path) if "/." in path else path


def shown_target(target: str) -> str:
    """Return the path of a target, for logs: queries may carry tokens, and authorities passwords."""
    if not target.startswith("/"):
        found = _ABSOLUTE.fullmatch(target)
        target = found[2] or "/" if found is not None else "***"
    return _BEHIND_PATH.split(target, maxsplit=1)[0]


def split_target(target: str) -> tuple[str, str]:
    """Return path and query of a target that ``parse_target`` has accepted, as they were sent."""
    if not target.startswith("/"):
        found = _ABSOLUTE.fullmatch(target)
        return (target, "") if found is None else (found[2] or "/", found[3][1:])
    path, _, query = target.partition("?")
    return path, query


def _checked(path: str, query: str) -> str:
    if _PATH.fullmatch(path) is None or _QUERY.fullmatch(query) is None:
        raise bad_request("malformed request target")
    return normalise(path)


def _decode(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if _UNRESERVED.fullmatch(character) else found[0].upper()


def _remove_dots(path: str) -> str:
    """Remove ``.`` and ``..`` by RFC 3986, 5.2.4; the root has no parent."""
    kept: list[str] = []
    segments = path[1:].split("/")
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
