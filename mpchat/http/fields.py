"""Header fields as the server itself reads them, and the lists in them (RFC 9110, 5.1 to 5.6). Pure.

Handlers see ``Headers`` of ``websockets`` instead. To fill and ask those takes an eighth of a handshake.
"""

from __future__ import annotations

from http import HTTPStatus

from mpchat.http.errors import HttpError

MAX_ELEMENTS = 100
"""Elements and parameters in all header lines of one name."""

Fields = dict[str, list[str]]
"""The values of all lines, by their names in lower case"""


def parse_fields(text: str) -> Fields:
    """Return the fields of valid header lines, each with its line end."""
    fields: Fields = {}
    for line in text.split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        name = name.lower()
        value = value.strip(" \t")
        if name in fields:
            fields[name].append(value)
        else:
            fields[name] = [value]
    return fields


def split_list(values: list[str]) -> tuple[str, ...]:
    """Return the elements of a header's lines, which form one list, in lower case (RFC 9110, 5.6.1).

    Raises:
        HttpError: 431 for more elements and parameters than any client needs, since each costs time
            wherever the list is read.
    """
    if len(values) == 1 and (elements := _USUAL.get(values[0])) is not None:
        return elements
    if sum(value.count(",") + value.count(";") for value in values) >= MAX_ELEMENTS:
        text = "too many elements in a header"
        raise HttpError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text)
    items = [item.strip(" \t").lower() for value in values for item in value.split(",")]
    return tuple(item for item in items if item)


_USUAL: dict[str, tuple[str, ...]] = {}
_USUAL |= {
    value: split_list([value])
    for value in ("websocket", "Upgrade", "keep-alive, Upgrade", "keep-alive", "close")
}
"""What nearly all clients send in Upgrade and Connection, split once."""
