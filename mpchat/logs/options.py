"""The section ``logging`` of the static config (userver's component of that name)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from mpchat.config.types import MAX_INT, OptionsModel
from mpchat.logs.levels import Level


class LoggerOptions(OptionsModel):
    """One logger; ``default`` is the root."""

    file_path: Annotated[str, Field(description="@stderr, @stdout, @null, or a file")]
    level: Annotated[Level, Field(description="Lines below this level are left out")] = "info"
    format: Annotated[
        Literal["tskv", "ltsv", "json", "raw", "text"],
        Field(
            description="Format of a line. raw: only its text. text: for people; the default where "
            "@stderr or @stdout is a terminal"
        ),
    ] = "tskv"
    flush_level: Annotated[
        Level,
        Field(
            description="Lines of this level or above are written at once; others wait up to 20 ms"
        ),
    ] = "warning"
    overflow_behavior: Annotated[
        Literal["discard", "block"],
        Field(description="When the queue is full: drop the line, or block the event loop"),
    ] = "discard"
    message_queue_size: Annotated[
        int, Field(ge=1, le=MAX_INT, description="Lines of each worker that may wait to be written")
    ] = 65536


class LoggingOptions(OptionsModel):
    """Where log lines go."""

    fs_task_processor: Annotated[
        str | None,
        Field(
            alias="fs-task-processor",
            description="Must exist; a thread of its own writes the lines",
        ),
    ] = None
    loggers: Annotated[dict[str, LoggerOptions], Field(description="Loggers by name")] = Field(
        default_factory=lambda: {"default": LoggerOptions(file_path="@stderr")}
    )

    @model_validator(mode="after")
    def _has_default(self) -> LoggingOptions:
        if "default" not in self.loggers:
            raise PydanticCustomError("no_default", "expected a logger named default among loggers")
        return self
