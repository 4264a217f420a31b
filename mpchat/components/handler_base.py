"""A handler: a component that answers requests on a path."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, Field, field_validator
from pydantic_core import PydanticCustomError

from mpchat.components.auth import AuthCheckerBase
from mpchat.components.component import Component, Components
from mpchat.config.types import ByteSize, Count, OptionsModel
from mpchat.logs.levels import LEVELS, Level


def _check_path(path: str) -> str:
    if not path.startswith("/"):
        raise PydanticCustomError("path", "expected a path that begins with /")
    if not path.isascii() or not path.isprintable() or re.search(r"[ ?#\"<>]", path):
        raise PydanticCustomError("path", "expected a percent-encoded path, as clients send it")
    return path


HandlerPath: TypeAlias = Annotated[
    str, AfterValidator(_check_path), Field(description="Exact, or with {name} segments")
]
"""The option ``path``."""


def methods_of(option: str) -> list[str]:
    """Return the methods that the option ``method`` lists."""
    return [name.strip() for name in option.split(",")]


Method = Annotated[str, Field(description="Allowed methods, comma separated")]
"""The option ``method``, for models that give it another default."""


class AuthOptions(OptionsModel):
    """Who may use a handler."""

    types: Annotated[
        tuple[str, ...],
        Field(
            strict=False,
            min_length=1,
            description="Names of checkers in the component list, such as `bearer`. The first that "
            "finds credentials of its kind decides; a request without any gets 401",
        ),
    ]


class HandlerBase(Component):
    """What HttpHandlerBase and WebsocketHandlerBase have in common: derive from one of those.

    One object serves all requests of its worker at once.

    Attributes:
        checkers: The checkers that the option ``auth`` names.
        logger: The handler's ``logging.Logger``, ``mpchat.handlers.NAME``. The option ``log-level`` and
            an entry of this name in the logging config apply to it.
    """

    _logger_prefix = "mpchat.handlers"

    class Options(Component.Options):
        """Options that every handler has."""

        path: HandlerPath
        method: Method = "GET"
        task_processor: Annotated[
            str | None, Field(description="The listener's; any other is an error")
        ] = None
        max_request_size: Annotated[
            ByteSize | None,
            Field(
                description="Largest body of a plain request, in bytes; then 413. By default that of the "
                "listener's handler-defaults"
            ),
        ] = None
        url_trailing_slash: Annotated[
            Literal["both", "strict-match"],
            Field(description="Whether /path/ is the same as /path"),
        ] = "both"
        max_requests_in_flight: Annotated[
            Count | None,
            Field(
                description="Open connections of this handler in the service; then 503. Of an HTTP "
                "handler requests that it is answering; then 429"
            ),
        ] = None
        max_requests_per_second: Annotated[
            Count | None,
            Field(
                description="Handshakes of this handler in the service; then 503. Of an HTTP handler "
                "requests; then 429"
            ),
        ] = None
        throttling_enabled: Annotated[
            bool,
            Field(
                description="False: requests are taken however busy the service is; see the section "
                "congestion-control"
            ),
        ] = True
        auth: Annotated[
            AuthOptions | None,
            Field(description="Checkers of clients, below; by default everybody is served"),
        ] = None
        log_level: Annotated[
            Level | None,
            Field(
                alias="log-level", description="Level of the lines about this handler's connections"
            ),
        ] = None

        @field_validator("method")
        @classmethod
        def _check_method(cls, method: str) -> str:
            if not all(name.isalpha() and name.isupper() for name in methods_of(method)):
                raise PydanticCustomError("method", "expected methods such as GET or GET,POST")
            return method

    def __init__(self, options: Any, components: Components) -> None:
        """Override like Component's."""
        super().__init__(options, components)
        names = options.auth.types if options.auth is not None else ()
        self.checkers = tuple(components.find(AuthCheckerBase, name) for name in names)
        if options.log_level is not None:
            self.logger.setLevel(LEVELS[options.log_level])
