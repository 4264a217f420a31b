"""The verbs ``mpchat config show`` and ``mpchat config diff``.

Rules. What a running service has loaded is preferred to what its files say now, and the output says which
of the two it is.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click

from mpchat.cli.options import app_option, config_files, control_socket, operator_options
from mpchat.config.files import ConfigFiles
from mpchat.daemon import load_component_list, load_dynamic_config, load_settings
from mpchat.errors import ExitCode, StartError
from mpchat.ipc.control import ControlError, NotRunning, ask

if TYPE_CHECKING:
    from mpchat.config.settings import Setting


@dataclass(frozen=True)
class _Found:
    """The settings of a service."""

    settings: tuple[Setting, ...]
    source: str
    """Whose they are"""
    missing: str = ""
    """Why they are not those of a running service; empty if they are"""


@click.group()
def config() -> None:
    """Show the config of a service, or compare its static config with a file."""


@config.command()
@click.option(
    "--dynamic", is_flag=True, help="Every variable of the dynamic config in place of the options."
)
@app_option
@operator_options
def show(dynamic: bool, app: str, as_json: bool, **options: Any) -> None:
    """Print every option of the static config, with its value and where that comes from.

    The options are those that the running service has loaded; if none runs, those that a start with the
    config would use, for which --app is needed as for a start. The first line says which. A secret is
    shown as asterisks. With --dynamic also the generation, and why the last reload and the last restart
    failed, if they did.
    """
    from mpchat.cli.settings import config_lines  # noqa: PLC0415 - heavy

    if dynamic:
        _show_dynamic(app, as_json, options)
        return
    found = _find(options, app)
    if as_json:
        settings = [asdict(setting) for setting in found.settings]
        click.echo(json.dumps({"running": not found.missing, "settings": settings}, indent=2))
        return
    click.echo(f"# {found.source}")
    for line in config_lines(found.settings):
        click.echo(line)


@config.command()
@click.argument("file")
@app_option
@operator_options
def diff(file: str, app: str, as_json: bool, **options: Any) -> None:
    """Print which options of a service would change if FILE were its static config.

    The service is the running one that -c or --socket names, by default the one that FILE names. If none
    runs, FILE is compared with the config of -c. Values of environment variables in FILE are those of
    this command. Secrets are not compared.

    Exits with 0 if nothing would change, with 1 if something would, with another code after an error.
    """
    from mpchat.cli.settings import changes, secrets  # noqa: PLC0415 - heavy

    named = options["config"] is not None
    try:
        old = _find(options if named or options["socket"] else options | {"config": file}, app)
    except ControlError as error:
        raise StartError(str(error), ExitCode.UNAVAILABLE) from error
    if old.missing and not named:
        text = f"{old.missing}; name the config to compare with by -c"
        raise StartError(text, ExitCode.UNAVAILABLE)
    new = _load(ConfigFiles(file, options["config_vars"], options["config_vars_override"]), app)
    found = changes(old.settings, new)
    hidden = sorted({*secrets(old.settings), *secrets(new)})
    if as_json:
        rows = [
            {"old": change.old and asdict(change.old), "new": change.new and asdict(change.new)}
            for change in found
        ]
        answer = {"running": not old.missing, "changes": rows, "not_compared": hidden}
        click.echo(json.dumps(answer, indent=2))
    else:
        if found:
            click.echo(f"--- {old.source}\n+++ {file}")
        for change in found:
            for line in change.lines():
                click.echo(line)
        if hidden:
            click.echo(f"not compared, since they are secret: {', '.join(hidden)}", err=True)
    sys.exit(ExitCode.FAILED if found else ExitCode.OK)


def _show_dynamic(app: str, as_json: bool, options: dict[str, Any]) -> None:
    from mpchat.cli.settings import dynamic_lines  # noqa: PLC0415 - heavy

    answer, source, missing = _ask("dynamic-config", options)
    if answer is None:
        answer = load_dynamic_config(config_files(options), lambda: load_component_list(app))
    if as_json:
        click.echo(json.dumps({"running": not missing, **answer}, indent=2))
        return
    click.echo(f"# {source}")
    for line in dynamic_lines(answer):
        click.echo(line)


def _find(options: dict[str, Any], app: str) -> _Found:
    """Return the settings of the running service, or of a start if no service runs."""
    answer, source, missing = _ask("config", options)
    settings = _load(config_files(options), app) if answer is None else _read(answer)
    return _Found(settings, source, missing)


def _ask(verb: str, options: dict[str, Any]) -> tuple[dict[str, Any] | None, str, str]:
    """Return what the running service answers or None, whose it is, and why no service runs."""
    try:
        path = control_socket(options)
        answer = ask(path, {"verb": verb})
        return answer, f"in force: what the service at {path} has loaded", ""
    except NotRunning:
        if options["socket"]:
            raise
        missing = f"no service listens at {path}"
    except StartError as error:
        # The system chooses the port, so the path is unknown.
        missing = str(error)
    return None, f"what a start with {config_files(options).config} would use: {missing}", missing


def _load(files: ConfigFiles, app: str) -> tuple[Setting, ...]:
    return load_settings(files, lambda: load_component_list(app))


def _read(answer: dict[str, Any]) -> tuple[Setting, ...]:
    from mpchat.config.settings import Setting  # noqa: PLC0415 - heavy

    return tuple(
        Setting(tuple(row["path"]), row["value"], row["origin"]) for row in answer["settings"]
    )
