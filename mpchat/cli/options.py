"""What several verbs have in common: their options, and how they ask a service and print its answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import click

from mpchat.config.files import ConfigFiles
from mpchat.daemon import find_control_socket
from mpchat.ipc.control import PATIENCE, ask

_Function = TypeVar("_Function", bound=Callable[..., None])


app_option = click.option(
    "--app",
    default="mpchat:default_component_list",
    metavar="MODULE:LIST",
    help="The components to serve: a ComponentList, or a function that returns one. "
    "By default the echo and the ping handler.",
)


def file_options(function: _Function) -> _Function:
    """Add the options that name a static config."""
    for option in (
        click.option(
            "--config_vars_override",
            metavar="FILE",
            help="Variables that override all others.",
        ),
        click.option(
            "--config_vars",
            metavar="FILE",
            help="Variables, instead of the file that the config names.",
        ),
        click.option(
            "-c",
            "--config",
            metavar="FILE",
            help="The static config, a YAML file in userver's format.",
        ),
    ):
        function = option(function)
    return function


def config_options(function: _Function) -> _Function:
    """Add the options of verbs that run or check a service."""
    for option in (
        app_option,
        click.option(
            "--print-dynamic-config-defaults",
            is_flag=True,
            help="Print the defaults of all dynamic variables, and exit.",
        ),
        click.option(
            "--print-config-schema",
            is_flag=True,
            help="Print the JSON Schema of the static config for editors, and exit.",
        ),
    ):
        function = option(function)
    return file_options(function)


def service_options(function: _Function) -> _Function:
    """Add the options that name a running service."""
    return file_options(
        click.option(
            "--socket",
            metavar="PATH",
            help="The service's control socket; by default the config says where it is.",
        )(function)
    )


def operator_options(function: _Function) -> _Function:
    """Add the options of verbs that ask a running service."""
    return service_options(
        click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")(function)
    )


def ask_service(
    verb: str, options: dict[str, Any], *, patience: float | None = PATIENCE, **arguments: Any
) -> dict[str, Any]:
    """Ask the service that the options name; raises what ``control_socket`` and ``ask`` raise."""
    return ask(control_socket(options), {"verb": verb, **arguments}, patience)


def control_socket(options: dict[str, Any]) -> str:
    """Return the path of the service's control socket; see find_control_socket for what it raises."""
    path: str = options["socket"] or find_control_socket(config_files(options))
    return path


def print_answer(
    answer: dict[str, Any], as_json: bool, lines: Callable[[dict[str, Any]], Iterator[str]]
) -> None:
    """Print an answer as JSON, or the lines made of it."""
    for line in [json.dumps(answer, indent=2)] if as_json else lines(answer):
        click.echo(line)


def config_files(options: dict[str, Any]) -> ConfigFiles:
    """Return the files that the options name.

    Raises:
        UsageError: They name none.
    """
    if options["config"] is None:
        either = " or '--socket'" if "socket" in options else ""
        text = f"Missing option '-c' / '--config'{either}."
        raise click.UsageError(text, click.get_current_context())
    return ConfigFiles(options["config"], options["config_vars"], options["config_vars_override"])
