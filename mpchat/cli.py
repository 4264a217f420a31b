"""The verbs of the command ``mpchat``.

Rules. Arguments in, daemon's functions out; nothing heavy is imported before a verb needs it. A bad
command line exits 64, not click's 2, since a service manager must tell it from other failures.
"""

from __future__ import annotations

import sys
from typing import NoReturn

import click

from mpchat.daemon import check_service, load_component_list, run_service
from mpchat.errors import ExitCode, StartError

_CONFIG = click.option(
    "-c",
    "--config",
    required=True,
    metavar="FILE",
    help="The static config, a YAML file in userver's manner.",
)
_APP = click.option(
    "--app",
    default="mpchat:default_component_list",
    metavar="MODULE:LIST",
    help="The components to serve: a ComponentList, or a function that returns one. "
    "By default the echo and the ping handler.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mpchat", message="mpchat %(version)s")
def commands() -> None:
    """Serve WebSockets from Python on every core of a machine."""


@commands.command()
@_CONFIG
@_APP
def serve(config: str, app: str) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    SIGHUP reloads the dynamic config. Exit codes: 0 stopped, 64 bad command line, 69 cannot listen,
    70 workers cannot start, 78 bad config.
    """
    run_service(config, lambda: load_component_list(app))


@commands.command()
@_CONFIG
@_APP
def check(config: str, app: str) -> None:
    """Validate static and dynamic config; start nothing.

    Prints each mistake as file:line:column and exits 78 if there is one.
    """
    check_service(config, lambda: load_component_list(app))
    click.echo(f"{config}: ok")


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
