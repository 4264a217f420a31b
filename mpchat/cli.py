"""The verbs of the command ``mpchat``.

Rules. Arguments in, daemon's functions out; nothing heavy is imported before a verb needs it. A bad
command line exits 64, not click's 2, since a service manager must tell it from other failures.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from mpchat.config.files import ConfigFiles
from mpchat.daemon import (
    check_service,
    load_component_list,
    print_config_schema,
    print_dynamic_config_defaults,
    run_service,
)
from mpchat.errors import ExitCode, StartError

_Function = TypeVar("_Function", bound=Callable[..., None])


def _config_options(function: _Function) -> _Function:
    """Add the options that every verb has which reads a static config."""
    for option in (
        click.option(
            "--config_vars_override",
            metavar="FILE",
            help="Variables that go before all others.",
        ),
        click.option(
            "--config_vars",
            metavar="FILE",
            help="Variables, in place of the file that the config names.",
        ),
        click.option(
            "--app",
            default="mpchat:default_component_list",
            metavar="MODULE:LIST",
            help="The components to serve: a ComponentList, or a function that returns one. "
            "By default the echo and the ping handler.",
        ),
        click.option(
            "--print-dynamic-config-defaults",
            is_flag=True,
            help="Print the defaults of all dynamic variables, and leave.",
        ),
        click.option(
            "--print-config-schema",
            is_flag=True,
            help="Print the JSON Schema of the static config for editors, and leave.",
        ),
        click.option(
            "-c",
            "--config",
            metavar="FILE",
            help="The static config, a YAML file in userver's manner.",
        ),
    ):
        function = option(function)
    return function


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mpchat", message="mpchat %(version)s")
def commands() -> None:
    """Serve WebSockets from Python on every core of a machine."""


@commands.command()
@_config_options
def serve(app: str, **options: Any) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    SIGHUP reloads the dynamic config. Exit codes: 0 stopped, 64 bad command line, 69 cannot listen,
    70 workers cannot start, 78 bad config.
    """
    if not _printed(app, options):
        run_service(_files(options), lambda: load_component_list(app))


@commands.command()
@_config_options
def check(app: str, **options: Any) -> None:
    """Validate static and dynamic config; start nothing.

    Prints each mistake as file:line:column and exits 78 if there is one.
    """
    if not _printed(app, options):
        files = _files(options)
        check_service(files, lambda: load_component_list(app))
        click.echo(f"{files.config}: ok")


def _printed(app: str, options: dict[str, Any]) -> bool:
    if options["print_config_schema"]:
        print_config_schema(load_component_list(app))
    elif options["print_dynamic_config_defaults"]:
        print_dynamic_config_defaults(load_component_list(app))
    else:
        return False
    return True


def _files(options: dict[str, Any]) -> ConfigFiles:
    if options["config"] is None:
        raise click.UsageError("Missing option '-c' / '--config'.", click.get_current_context())
    return ConfigFiles(options["config"], options["config_vars"], options["config_vars_override"])


def main() -> NoReturn:
    """Run the command line and exit."""
    try:
        commands.main(standalone_mode=False)
        code = int(ExitCode.OK)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = ExitCode.USAGE
    except click.UsageError as error:
        error.show()
        code = ExitCode.USAGE
    except click.ClickException as error:
        error.show()
        code = ExitCode.SOFTWARE
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        code = ExitCode.SOFTWARE
    except StartError as error:
        click.echo(f"mpchat: {error}", err=True)
        code = error.exit_code
    sys.exit(code)
