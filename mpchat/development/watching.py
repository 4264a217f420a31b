"""``serve --dev``: the command stays, watches files, and has the service restart or reload.

Rules. The service is a child with a supervisor of its own, which does not know that it is watched. It
gets the signals that any operator may send: USR2 after a change of code or static config, HUP after one
of the dynamic config. It says itself why a restart fails. A service that could not start is started again
after the next change. The command passes on signals and leaves with the service's exit code; if the
command is killed, the kernel asks the service to stop.
"""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from mpchat.config.files import ConfigFiles
from mpchat.errors import ConfigError, ExitCode, StartError
from mpchat.linux.processes import die_with_parent
from mpchat.supervisor.signals import HANDLED
from mpchat.template.loading import load_paths

_LOOK_MS = 100
"""Milliseconds between two looks for signals."""
_GATHER_MS = 200
"""Milliseconds in which changes belong together, such as those of a checkout."""

_AFTER_A_MISTAKE = {ExitCode.SOFTWARE, ExitCode.CONFIG}
"""Exit codes of a service whose author only has to mend something."""
_ENDING = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP}

Watch = Callable[[set[str]], Iterator[set[str]]]
"""Yields the paths that have changed below these folders, every ``_LOOK_MS`` at least an empty set."""


@dataclass(frozen=True)
class Watched:
    """The files of a service, by what follows from their change."""

    folders: frozenset[str]
    """Python files below these restart the service."""
    static: frozenset[str]
    dynamic: frozenset[str]

    def again(self, files: ConfigFiles) -> Watched:
        """Return what belongs to the service now; the files of a bad config stay those that they were."""
        try:
            static, dynamic = load_paths(files)
        except ConfigError:
            # The service says so itself.
            return self
        return Watched(self.folders, _real(static), _real(dynamic))

    def roots(self) -> set[str]:
        """Return the folders to watch: editors replace files, so none is watched by itself."""
        of_configs = {os.path.dirname(path) for path in self.static | self.dynamic}
        return {path for path in self.folders | of_configs if os.path.isdir(path)}

    def order_after(self, changed: Iterable[str]) -> tuple[signal.Signals, str] | None:
        """Return the signal that these changes call for, and the file that is to blame, if any."""
        found = None
        for path in sorted(changed):
            if path in self.static or (path.endswith(".py") and self._is_code(path)):
                return signal.SIGUSR2, path
            if path in self.dynamic:
                found = signal.SIGHUP, path
        return found

    def _is_code(self, path: str) -> bool:
        return any(path.startswith(os.path.join(folder, "")) for folder in self.folders)


def serve_watched(files: ConfigFiles, folders: Iterable[str], start: Callable[[], NoReturn]) -> int:
    """Run a service, restart it whenever its files change, and return its exit code.

    ``start`` turns the process that calls it into the supervisor.

    Raises:
        StartError: Files cannot be watched.
    """
    watch = _watch()
    service = _Service(start)
    try:
        watched, is_stale = Watched(_real(folders), _real([files.config]), frozenset()), True
        while True:
            roots = watched.roots()
            for changed in watch(roots):
                if (exit_code := service.look()) is not None:
                    return exit_code
                order = watched.order_after(changed)
                if order is not None:
                    number, path = order
                    _say(f"{os.path.relpath(path)} has changed")
                    service.changed(number)
                    is_stale = True
                if is_stale:
                    watched, is_stale = watched.again(files), False
                    if watched.roots() != roots:
                        break
    finally:
        service.end()


class _Service:
    """The supervisor, as a child."""

    def __init__(self, start: Callable[[], NoReturn]) -> None:
        # Signals wait until they are looked for.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        self._start = start
        self._pid = 0
        """0 while there is none"""
        self._failed: int = ExitCode.OK
        """The exit code of the one that could not start"""
        self._has_changed = False
        """Whether files have changed since the last one was started"""
        self._begin()

    def look(self) -> int | None:
        """Pass on signals that have come; return the exit code once there is nothing left to wait for."""
        while (info := signal.sigtimedwait(HANDLED, 0)) is not None:
            number = signal.Signals(info.si_signo)
            if number is signal.SIGCHLD:
                exit_code = self._wait(os.WNOHANG)
                if exit_code in _AFTER_A_MISTAKE and self._has_changed:
                    self._begin()
                elif exit_code in _AFTER_A_MISTAKE:
                    self._failed = exit_code
                    _say("the service starts again after the next change")
                elif exit_code is not None:
                    return exit_code
            elif self._pid == 0:
                if number in _ENDING:
                    return self._failed
            elif info.si_code <= 0:
                # From a process (sigaction(2), SI_USER). The terminal's own reach the service as well.
                self._send(number)
            elif number is signal.SIGHUP:
                # The terminal is gone, and nobody reads any more what the service says.
                self._send(signal.SIGTERM)
        return None

    def changed(self, number: signal.Signals) -> None:
        """Have the service act on a change of its files."""
        self._has_changed = True
        if self._pid:
            self._send(number)
        else:
            self._begin()

    def end(self) -> None:
        """Stop the service, if there is one."""
        if self._pid:
            self._send(signal.SIGTERM)
            self._wait(0)

    def _begin(self) -> None:
        command, self._has_changed = os.getpid(), False
        with warnings.catch_warnings():
            # The thread that watches files stays here, and the child becomes another program at once.
            warnings.simplefilter("ignore", DeprecationWarning)
            self._pid = os.fork()
        if self._pid == 0:
            die_with_parent(signal.SIGTERM)
            if os.getppid() != command:
                sys.exit(ExitCode.OK)
            self._start()

    def _send(self, number: signal.Signals) -> None:
        os.kill(self._pid, number)

    def _wait(self, options: int) -> int | None:
        pid, status = os.waitpid(self._pid, options)
        if not pid:
            return None
        self._pid = 0
        code = os.waitstatus_to_exitcode(status)
        return code if code >= 0 else 128 - code


def _say(text: str) -> None:
    print(f"mpchat: {text}", file=sys.stderr, flush=True)


def _watch() -> Watch:
    try:
        import watchfiles  # noqa: PLC0415 - the extra, which only --dev needs
    except ImportError as error:
        text = "--dev needs watchfiles: pip install 'mpchat[reload]'"
        raise StartError(text, ExitCode.USAGE) from error

    def watch(folders: set[str]) -> Iterator[set[str]]:
        try:
            for changes in watchfiles.watch(
                *folders,
                debounce=_GATHER_MS,
                rust_timeout=_LOOK_MS,
                yield_on_timeout=True,
                # A folder that nobody may read has no code that we could load.
                ignore_permission_denied=True,
            ):
                yield {os.path.realpath(path) for _change, path in changes}
        except OSError as error:
            text = f"cannot watch {', '.join(sorted(folders))}: {error}"
            raise StartError(text, ExitCode.OS) from error

    return watch


def _real(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(os.path.realpath(path) for path in paths)
