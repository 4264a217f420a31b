"""From a command line to a running supervisor: ``daemon_main`` for authors, the same for the verbs.

Rules. The process that the user started becomes the supervisor by exec, with nothing of the author's
code left in it. The same command line, started again by the supervisor with a channel in its
environment, is the template. Heavy imports happen only there and in a check.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, NoReturn

from mpchat.errors import ConfigError, ExitCode, StartError
from mpchat.supervisor.children import CHANNEL_VARIABLE
from mpchat.supervisor.signals import HANDLED

if TYPE_CHECKING:
    from mpchat.components.list import ComponentList


def daemon_main(components: ComponentList) -> NoReturn:
    """Run a service of these components by the process's own command line (userver's DaemonMain).

    Options: ``-c/--config FILE``, by default ``config_dev.yaml`` in the current folder.
    """
    parser = _Parser(description="A service built with mpchat.")
    parser.add_argument("-c", "--config", default="config_dev.yaml", metavar="FILE")
    options = parser.parse_args()
    run_service(options.config, lambda: components)
    raise AssertionError("run_service does not return")


def run_service(config: str, components: Callable[[], ComponentList]) -> NoReturn:
    """Become the supervisor or, where a supervisor started us, its template."""
    descriptor = os.environ.pop(CHANNEL_VARIABLE, None)
    if descriptor is None:
        _exec_supervisor()
    from mpchat.template.template import run_template  # noqa: PLC0415 - heavy

    run_template(int(descriptor), config, components)


def check_service(config: str, components: Callable[[], ComponentList]) -> None:
    """Validate everything that ``serve`` would; print mistakes and leave if there are any."""
    from mpchat.template.loading import check  # noqa: PLC0415 - heavy

    try:
        for warning in check(config, components()):
            print(f"warning: {warning}", file=sys.stderr)
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(ExitCode.CONFIG)


def load_component_list(app: str) -> ComponentList:
    """Import ``MODULE:LIST``; LIST is a ComponentList or a function that returns one.

    Raises:
        StartError: The name is not of that form, or names nothing usable.
    """
    module_name, colon, attribute = app.partition(":")
    if not (module_name and colon and attribute):
        raise StartError(f"--app {app}: expected MODULE:LIST", ExitCode.USAGE)
    if os.getcwd() not in sys.path:
        # As `python -m` does: the module beside the config is what a user expects to be found.
        sys.path.insert(0, os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise StartError(f"--app {app}: no module named {error.name}", ExitCode.USAGE) from error
    try:
        found = getattr(module, attribute)
    except AttributeError as error:
        text = f"--app {app}: module {module_name} has no {attribute}"
        raise StartError(text, ExitCode.USAGE) from error
    from mpchat.components.list import ComponentList  # noqa: PLC0415 - heavy

    components = found() if callable(found) else found
    if not isinstance(components, ComponentList):
        text = f"--app {app}: expected a ComponentList, got {type(components).__name__}"
        raise StartError(text, ExitCode.USAGE)
    return components


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(ExitCode.USAGE, f"{self.prog}: error: {message}\n")


def _exec_supervisor() -> NoReturn:
    python = sys.executable
    command = [python, *sys.orig_argv[1:]]
    home = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # `-m` puts the current folder first in the supervisor's path, where an author's module could hide
    # one of the standard library; only where we were found there it has to stay.
    safe = [] if home == os.getcwd() else ["-P"]
    sys.stdout.flush()
    sys.stderr.flush()
    # A signal between here and the supervisor's own handlers waits instead of killing.
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    os.execv(python, [python, *safe, "-m", "mpchat.supervisor", *command])
