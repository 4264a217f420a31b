"""The verbs of the command ``mpchat``.

Rules. Verbs turn arguments into calls of ``daemon``; nothing heavy is imported before a verb needs it. A
bad command line exits with 64, not click's 2, because a service manager must recognise it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any, NoReturn

import click

from mpchat import FORM, __version__
from mpchat.cli.config import config
from mpchat.cli.options import (
    ask_service,
    config_files,
    config_options,
    control_socket,
    operator_options,
    print_answer,
)
from mpchat.cli.tables import (
    certificate_lines,
    connection_lines,
    listener_lines,
    room_lines,
    serves,
    status_lines,
)
from mpchat.cli.top.verb import top
from mpchat.cli.watching import Watched, watch
from mpchat.daemon import (
    DEV_AND_NO_FORK,
    check_service,
    load_component_list,
    print_config_schema,
    print_dynamic_config_defaults,
    run_alone,
    run_service,
)
from mpchat.errors import ConfigError, ExitCode, StartError, describe_os_error
from mpchat.ipc.closing import IDENTITY_GONE
from mpchat.ipc.control import ControlError, ask
from mpchat.ipc.reports import BY_MEMBERS, BY_MESSAGES, MAX_ROOMS
from mpchat.scaffold.writing import Kind, check_name, write_service
from mpchat.scoreboard.scoreboard import SLOTS


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, message=f"mpchat %(version)s, {FORM}")
def commands() -> None:
    """Serve WebSockets from Python on every core of a machine."""


@commands.command()
@click.option(
    "--dev",
    is_flag=True,
    help="Restart after each change of code or static config, reload after one of the dynamic config.",
)
@click.option(
    "--no-fork",
    is_flag=True,
    help="Serve in this process alone, for breakpoint() and debuggers.",
)
@config_options
def serve(app: str, dev: bool, no_fork: bool, **options: Any) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    SIGHUP reloads the dynamic config. Exit codes: 0 stopped, 64 bad command line, 69 cannot listen,
    70 workers do not start, 78 bad config.
    """
    if dev and no_fork:
        raise click.UsageError(DEV_AND_NO_FORK, click.get_current_context())
    if _printed(app, options):
        return
    files = config_files(options)
    if no_fork:
        run_alone(files, lambda: load_component_list(app))
    run_service(files, lambda: load_component_list(app), dev=dev)


@commands.command()
@config_options
def check(app: str, **options: Any) -> None:
    """Validate static and dynamic config, and the hooks of the components; start nothing.

    Prints each mistake as file:line:column, and whose the certificates are and until when. Exits with 78
    after a mistake, with 70 if the code does not load.
    """
    if not _printed(app, options):
        files = config_files(options)
        certificates = check_service(files, lambda: load_component_list(app))
        for line in certificate_lines(certificates):
            click.echo(line)
        click.echo(f"{files.config}: ok")


@commands.command()
@click.option(
    "--watch",
    "every",
    is_flag=False,
    flag_value="2",
    type=click.FloatRange(0.1, 3600),
    metavar="[SECONDS]",
    help="Show it again every SECONDS, by default 2, with rates per second, until Ctrl-C.",
)
@click.option("--wide", is_flag=True, help="All columns, even if the terminal is too narrow.")
@operator_options
def status(every: float | None, wide: bool, as_json: bool, **options: Any) -> None:
    """Show every worker of a running service.

    MSG-IN, MSG-OUT, IN and OUT are messages and bytes in each direction, LAG is the delay of the event
    loop, PSS the memory, GEN the generation of the dynamic config; docs/control-socket.md describes all
    fields. A narrow terminal gets fewer columns. Exits with 1 if no worker serves or the supervisor is
    stuck, so it can be a health check.
    """
    if every is not None:
        if as_json:
            raise click.UsageError("--watch is for people: ask for --json again instead.")
        path = control_socket(options)
        watch(Watched(lambda: ask(path, {"verb": "status"})), every, wide=wide, stream=sys.stdout)
        return
    answer = ask_service("status", options)
    whole = wide or not sys.stdout.isatty()
    width = None if whole else shutil.get_terminal_size().columns
    print_answer(answer, as_json, lambda answer: status_lines(answer, width))
    hang_timeout = answer["hang_timeout_seconds"]
    if answer["silent_seconds"] > hang_timeout:
        raise ControlError(f"the supervisor has been stuck for {answer['silent_seconds']:.0f} s")
    if not any(serves(worker, hang_timeout) for worker in answer["workers"]):
        raise ControlError("no worker serves")


@commands.command()
@click.option("--user", metavar="NAME", help="Only those of this user.")
@operator_options
def connections(user: str | None, as_json: bool, **options: Any) -> None:
    """Show every open WebSocket connection of a running service."""
    answer = ask_service("connections", options, user=user)
    _warn_of_silent(answer)
    print_answer(answer, as_json, connection_lines)


@commands.command()
@click.option("--user", metavar="NAME", required=True, help="Whose connections to close.")
@click.option(
    "--code", type=int, default=IDENTITY_GONE, show_default=True, help="The code of the Close."
)
@click.option("--reason", default="", help="The reason in the Close.")
@operator_options
def kick(user: str, code: int, reason: str, as_json: bool, **options: Any) -> None:
    """Close the connections of a user in every worker.

    The user may connect again: first see to it that the service refuses that.
    """
    answer = ask_service("kick", options, user=user, code=code, reason=reason)
    _warn_of_silent(answer)
    count = len(answer["connections"])
    text = f"closed {'1 connection' if count == 1 else f'{count} connections'}"
    print_answer(answer, as_json, lambda _answer: iter([text]))


@commands.command()
@click.option(
    "--by",
    type=click.Choice(["members", "messages"]),
    default="members",
    show_default=True,
    help="Largest first: by members, or by messages per second.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_ROOMS),
    default=100,
    show_default=True,
    help="The most rooms to show.",
)
@operator_options
def rooms(by: str, limit: int, as_json: bool, **options: Any) -> None:
    """Show the rooms of a running service: members, and messages per second."""
    order = BY_MEMBERS if by == "members" else BY_MESSAGES
    answer = ask_service("rooms", options, by=order, limit=limit)
    print_answer(answer, as_json, room_lines)


def _warn_of_silent(answer: dict[str, Any]) -> None:
    for pid in answer["silent"]:
        text = f"warning: worker pid {pid} did not answer; its connections are missing"
        click.echo(text, err=True)


@commands.command()
@operator_options
def listeners(as_json: bool, **options: Any) -> None:
    """Show the listening sockets of a running service, one for each slot.

    WAITING are connections that no worker has accepted yet, LIMIT as many as the kernel keeps waiting;
    BY and PID say which workers accept from that socket.
    """
    print_answer(ask_service("listeners", options), as_json, listener_lines)


@commands.command()
@operator_options
def reopen(as_json: bool, **options: Any) -> None:
    """Open the log files again in every process of a running service; return when all have.

    For log rotation, after the files were moved; SIGUSR1 does the same without waiting. Exits with 1 and
    the reasons if a process keeps writing to an old file, or has not answered within five seconds.
    """
    answer = ask_service("reopen", options)
    reasons = [*answer["trouble"], *(f"{name} has not answered" for name in answer["silent"])]
    text = "every process writes to the log files that are at their paths now"
    print_answer(answer, as_json, lambda _answer: iter([] if reasons else [text]))
    if reasons:
        raise ControlError("\n".join(reasons))


@commands.command()
@operator_options
def reload(as_json: bool, **options: Any) -> None:
    """Reload the dynamic config; return when every worker uses it.

    Exits with 1 and the reasons if the config is bad (the old one stays) or a worker does not confirm it.
    """
    text = "dynamic config generation {generation} is applied in every worker"
    # A reload may wait for a restart. No limit here: the service limits each step of both.
    answer = ask_service("reload", options, patience=None)
    print_answer(answer, as_json, lambda answer: iter([text.format(**answer)]))


@commands.command()
@click.argument("slot", type=int, required=False)
@operator_options
def restart(slot: int | None, as_json: bool, **options: Any) -> None:
    """Replace all workers by new ones with the current code and static config; return when it is done.

    A new template loads both. Then, slot by slot, a new worker becomes ready and the old one retires: its
    clients get close code 1012 within the drain's window, nobody is refused. If the new code or config
    does not load, or a new worker does not start, the old workers stay, and the verb exits with 1 and the
    reason.

    With SLOT, replace only the worker of that slot, with the code and config that are already loaded.
    """
    # No limit here: the service limits each step of a restart.
    answer = ask_service("restart", options, patience=None, slot=slot)
    text = "restarted" if slot is None else f"the worker of slot {slot} was replaced"
    print_answer(answer, as_json, lambda _answer: iter([text]))


@commands.command()
@click.argument("workers", type=click.IntRange(1, SLOTS), metavar="N")
@operator_options
def scale(workers: int, as_json: bool, **options: Any) -> None:
    """Set the number of workers to N; return when they are ready.

    Surplus workers retire: their clients get close code 1012 within the drain's window and find another
    worker; nobody is refused. The next start of the service uses the number in its config.
    """
    answer = ask_service("scale", options, count=workers)
    text = "1 worker is ready" if workers == 1 else f"{workers} workers are ready"
    print_answer(answer, as_json, lambda _answer: iter([text]))


@commands.command("log-level")
@click.argument("logger")
@click.argument("level", required=False)
@operator_options
def log_level(logger: str, level: str | None, as_json: bool, **options: Any) -> None:
    """Change the level of LOGGER in all processes of a running service; without LEVEL, reset it.

    LOGGER is the name of a Python logger, or default. LEVEL is trace, debug, info, warning, error,
    critical or none. It also applies to workers that start later, but not after the next start of the
    service.
    """
    answer = ask_service("log-level", options, logger=logger, level=level)
    text = f"{logger}: {level or 'its own level again'}"
    print_answer(answer, as_json, lambda _answer: iter([text]))


@commands.command()
@click.argument("name")
@click.option(
    "--auth", is_flag=True, help="With a login: a signed cookie, and tokens for programs."
)
@click.option(
    "--rooms",
    is_flag=True,
    help="A chat with rooms, which everybody may join. Not together with --auth.",
)
def new(name: str, auth: bool, rooms: bool) -> None:
    """Write a new service into the folder NAME, which must not exist.

    It has a handler, both configs, a main, tests of the handler and of the whole service, a systemd unit
    and a Dockerfile; its README.md says how to go on. Exits with 1 if the folder cannot be written.
    """
    if auth and rooms:
        raise click.UsageError(
            "--auth and --rooms write different services: choose one, and add the other by "
            "docs/authentication.md or docs/rooms.md"
        )
    try:
        check_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    try:
        kind: Kind | None = "auth" if auth else "rooms" if rooms else None
        files = write_service(Path(), name, kind)
    except FileExistsError as error:
        text = f"{name} exists here already: choose another name, or remove it"
        raise click.ClickException(text) from error
    except OSError as error:
        text = f"cannot write {error.filename or name}: {describe_os_error(error)}"
        raise click.ClickException(text) from error
    for file in files:
        click.echo(file)
    click.echo(f"next: cd {name}, and follow README.md")


def _printed(app: str, options: dict[str, Any]) -> bool:
    if options["print_config_schema"]:
        print_config_schema(load_component_list(app))
    elif options["print_dynamic_config_defaults"]:
        print_dynamic_config_defaults(load_component_list(app))
    else:
        return False
    return True


commands.add_command(config)
commands.add_command(top)


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
        code = ExitCode.FAILED
    except click.exceptions.Exit as error:
        code = error.exit_code
    except click.Abort:
        code = ExitCode.FAILED
    except ControlError as error:
        click.echo(f"mpchat: {error}", err=True)
        code = ExitCode.FAILED
    except ConfigError as error:
        click.echo(error, err=True)
        code = ExitCode.CONFIG
    except StartError as error:
        click.echo(f"mpchat: {error}", err=True)
        code = error.exit_code
    sys.exit(code)
