"""From a command line to a running supervisor: ``daemon_main`` for authors, the same for the verbs.

Rules. The process that the user started becomes the supervisor by exec, which removes the author's code
from it. The supervisor runs the same command line again, with a channel in the environment: that process
is the template. Only the template and a check import heavy modules.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from mpchat.config.files import ConfigFiles
from mpchat.errors import ConfigError, ExitCode, MpchatError, StartError, describe_exception
from mpchat.ipc.control import default_path
from mpchat.linux.memfd import read_memfd
from mpchat.supervisor.environment import CHANNEL_VARIABLE, STDERR_VARIABLE
from mpchat.supervisor.folder import by_name
from mpchat.supervisor.signals import HANDLED

if TYPE_CHECKING:
    from mpchat.components.list import ComponentList
    from mpchat.config.settings import Setting

DEV_AND_NO_FORK = "--dev restarts workers, and --no-fork has none: choose one"


def daemon_main(components: ComponentList) -> NoReturn:
    """Run a service of these components, by the command line of this process (userver's DaemonMain).

    The options are userver's: ``--config FILE`` (by default ``config_dev.yaml`` in the current folder),
    ``--config_vars FILE``, ``--config_vars_override FILE``, ``--print-config-schema`` and
    ``--print-dynamic-config-defaults``; and ``--dev`` and ``--no-fork`` (docs/developing.md).
    This function does not return: the process becomes the supervisor, and exits with its exit code.
    """
    parser = _Parser(description="A service built with mpchat.")
    parser.add_argument(
        "-c",
        "--config",
        default="config_dev.yaml",
        metavar="FILE",
        help="static config, by default config_dev.yaml in the current folder",
    )
    parser.add_argument(
        "--config_vars", metavar="FILE", help="variables, instead of the file that the config names"
    )
    parser.add_argument(
        "--config_vars_override", metavar="FILE", help="variables that override all others"
    )
    parser.add_argument(
        "--print-config-schema", action="store_true", help="print the JSON Schema of the config"
    )
    parser.add_argument(
        "--print-dynamic-config-defaults",
        action="store_true",
        help="print the defaults of all dynamic variables",
    )
    parser.add_argument(
        "--dev", action="store_true", help="restart after each change of code or config"
    )
    parser.add_argument(
        "--no-fork", action="store_true", help="serve in this process alone, for a debugger"
    )
    options = parser.parse_args()
    if options.print_config_schema:
        print_config_schema(components)
    elif options.print_dynamic_config_defaults:
        print_dynamic_config_defaults(components)
    else:
        files = ConfigFiles(options.config, options.config_vars, options.config_vars_override)
        if options.dev and options.no_fork:
            parser.error(DEV_AND_NO_FORK)
        try:
            if options.no_fork:
                run_alone(files, lambda: components)
            run_service(files, lambda: components, dev=options.dev)
        except ConfigError as error:
            parser.exit(ExitCode.CONFIG, f"{error}\n")
        except StartError as error:
            parser.exit(error.exit_code, f"{parser.prog}: error: {error}\n")
    sys.exit(ExitCode.OK)


def print_config_schema(components: ComponentList) -> None:
    """Print the JSON Schema of a static config for these components."""
    from mpchat.template.printing import config_schema  # noqa: PLC0415 - heavy

    _print_json(config_schema(components))


def print_dynamic_config_defaults(components: ComponentList) -> None:
    """Print a JSON object of all dynamic variables with their defaults."""
    from mpchat.template.printing import dynamic_config_defaults  # noqa: PLC0415 - heavy

    _print_json(dict(sorted(dynamic_config_defaults(components).items())))


def _print_json(value: dict[str, Any]) -> None:
    try:
        print(json.dumps(value, indent=2), flush=True)
    except BrokenPipeError:
        # `| head` has closed the pipe; at exit the interpreter must not try to write the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def run_service(
    files: ConfigFiles, components: Callable[[], ComponentList], *, dev: bool = False
) -> NoReturn:
    """Become the supervisor or, if a supervisor started this process, its template.

    With ``dev`` this process starts the supervisor as a child, and watches the files.

    Raises:
        StartError: The service cannot run here.
    """
    descriptor = os.environ.pop(CHANNEL_VARIABLE, None)
    stderr = os.environ.pop(STDERR_VARIABLE, None)
    if descriptor is None:
        if dev:
            from mpchat.development.watching import serve_watched  # noqa: PLC0415 - heavy

            sys.exit(serve_watched(files, _code_folders(), _exec_supervisor))
        _exec_supervisor()
    if stderr is not None:
        _restore_stderr(int(stderr))
    from mpchat.development.service import in_development  # noqa: PLC0415 - heavy
    from mpchat.template.loading import Sources, load_service  # noqa: PLC0415 - heavy
    from mpchat.template.template import run_template  # noqa: PLC0415 - heavy
    from mpchat.worker.service import Service  # noqa: PLC0415 - heavy

    def load(sources: Sources) -> Service:
        service = load_service(files, components(), sources)
        return in_development(service) if dev else service

    run_template(int(descriptor), load)


def run_alone(files: ConfigFiles, components: Callable[[], ComponentList]) -> NoReturn:
    """Serve in this process, without a supervisor.

    Raises:
        ConfigError: All mistakes of the config.
        StartError: The service cannot run here, or the author's code fails.
    """
    from mpchat.development.service import in_development  # noqa: PLC0415 - heavy
    from mpchat.development.single import serve_single  # noqa: PLC0415 - heavy
    from mpchat.template.loading import Sources, load_service  # noqa: PLC0415 - heavy

    with _loading():
        service = load_service(files, components(), Sources())
    sys.exit(serve_single(in_development(service)))


def _code_folders() -> list[str]:
    """Return where an author's modules are found: the current folder, and that of the main module."""
    main = getattr(sys.modules["__main__"], "__file__", None) or ""
    return [os.getcwd(), *([os.path.dirname(main)] if main.endswith(".py") else [])]


def check_service(
    files: ConfigFiles, components: Callable[[], ComponentList]
) -> list[dict[str, Any]]:
    """Validate everything that ``serve`` would, and print warnings.

    Returns:
        The certificates, as a status has them.

    Raises:
        ConfigError: All mistakes.
        StartError: The component list does not load, or a validator of the author failed.
    """
    from mpchat.template.loading import check  # noqa: PLC0415 - heavy

    with _loading():
        checked = check(files, components())
    for warning in checked.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return checked.certificates


def load_settings(
    files: ConfigFiles, components: Callable[[], ComponentList]
) -> tuple[Setting, ...]:
    """Return every option of the static config as a start would use it; raises as check_service."""
    from mpchat.template.loading import Sources, load_service  # noqa: PLC0415 - heavy

    with _loading():
        return load_service(files, components(), Sources()).settings


def load_dynamic_config(
    files: ConfigFiles, components: Callable[[], ComponentList]
) -> dict[str, Any]:
    """Return the dynamic config as a start would use it, for operators; raises as check_service."""
    from mpchat.dynamic_config.in_force import describe  # noqa: PLC0415 - heavy
    from mpchat.template.dynamic import load_dynamic  # noqa: PLC0415 - heavy
    from mpchat.template.loading import Sources, load_service  # noqa: PLC0415 - heavy

    with _loading():
        service = load_service(files, components(), Sources())
        loaded = load_dynamic(service)
    return {"variables": describe(loaded.values, loaded.origins, service.keys)}


@contextlib.contextmanager
def _loading() -> Iterator[None]:
    """Turn any failure of the author's code into a StartError."""
    try:
        yield
    except MpchatError:
        raise
    except Exception as error:
        text = f"the service could not be loaded\n{describe_exception(error).rstrip()}"
        raise StartError(text, ExitCode.SOFTWARE) from error


def find_control_socket(files: ConfigFiles) -> str:
    """Return the path of the control socket of a service with this config.

    Raises:
        ConfigError: The config has a mistake.
        StartError: The system chooses the service's port, which is part of the default path.
    """
    from mpchat.template.loading import Sources, load_server  # noqa: PLC0415 - heavy

    server = load_server(files, Sources())
    listener = server.listener
    if server.control_socket is not None:
        return server.control_socket
    if listener.port == 0:
        text = f"{files.config}: the system chooses the port; name the socket by --socket"
        raise StartError(text, ExitCode.USAGE)
    return default_path(os.environ, listener.unix_socket or str(listener.port))


def load_component_list(app: str) -> ComponentList:
    """Import ``MODULE:LIST``; LIST is a ComponentList or a function that returns one.

    Raises:
        StartError: The name has another form or names no usable list, or the author's code fails.
    """
    module_name, colon, attribute = app.partition(":")
    if not (module_name and colon and attribute):
        raise StartError(f"--app {app}: expected MODULE:LIST", ExitCode.USAGE)
    if os.getcwd() not in sys.path:
        # Like `python -m`: users expect to import a module from the current folder.
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
        found = getattr(module, attribute)
        # A class is also callable, but does not return a list.
        if callable(found) and not isinstance(found, type):
            found = found()
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise _failed(app, error) from error
        text = (
            f"--app {app}: no module named {error.name} in {os.getcwd()} or among installed modules"
        )
        raise StartError(text, ExitCode.USAGE) from error
    except AttributeError as error:
        if error.name != attribute or not isinstance(error.obj, ModuleType):
            raise _failed(app, error) from error
        text = f"--app {app}: module {module_name} has no {attribute}"
        raise StartError(text, ExitCode.USAGE) from error
    except SystemExit as error:
        text = "the module exits when it is imported"
        hint = 'is daemon_main called below `if __name__ == "__main__":`?'
        raise StartError(f"--app {app}: {text}; {hint}", ExitCode.SOFTWARE) from error
    except Exception as error:
        raise _failed(app, error) from error
    from mpchat.components.list import ComponentList  # noqa: PLC0415 - heavy

    if not isinstance(found, ComponentList):
        what = f"the class {found.__name__}" if isinstance(found, type) else type(found).__name__
        text = f"--app {app}: expected a ComponentList, got {what}"
        raise StartError(text, ExitCode.USAGE)
    return found


def _failed(app: str, error: Exception) -> StartError:
    text = f"--app {app}: cannot be loaded\n{describe_exception(error).rstrip()}"
    return StartError(text, ExitCode.SOFTWARE)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: error: {message}\n")


def _exec_supervisor() -> NoReturn:
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # `-m` puts the current folder first in the supervisor's path, where an author's module could hide
    # one of the standard library. It must stay only if mpchat itself was found there.
    try:
        safe = [] if home == os.getcwd() else ["-P"]
        python = by_name(sys.executable, os.environ)
    except FileNotFoundError as error:
        text = "the current folder no longer exists; start from another one"
        raise StartError(text, ExitCode.USAGE) from error
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    _open_standard_descriptors()
    # A signal between here and the supervisor's own handlers waits instead of killing.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    command = [python, *sys.orig_argv[1:]]
    os.execv(python, [python, *safe, "-m", "mpchat.supervisor", *command])


def _restore_stderr(descriptor: int) -> None:
    """Make ``descriptor`` stderr again, and copy to it everything that stderr has received meanwhile."""
    sys.stderr.flush()
    written = read_memfd(2)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    os.write(2, written)


def _open_standard_descriptors() -> None:
    """Open descriptors 0, 1 and 2 if the caller has closed them, so that nothing prints into other files.

    Python has no stream for a descriptor that was closed at its start. Another file may have taken its
    number since: libffi keeps a file open once ctypes is imported, and so may an author's module. That
    file is replaced, which is safe only because this process is about to exec.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    for standard, stream in enumerate((sys.__stdin__, sys.__stdout__, sys.__stderr__)):
        if stream is None or not os.get_inheritable(standard):
            os.dup2(descriptor, standard)
    os.close(descriptor)
