"""The paths of handlers of rooms."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

_PARAMETER = "{room}"


def check_parameter(path: str) -> str:
    """Return the path of a handler if it has a part for the room's name."""
    if _PARAMETER not in path:
        raise PydanticCustomError("room", "expected a path with {room}, such as /rooms/{room}")
    return path
