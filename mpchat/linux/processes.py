"""Process attributes that all our forked processes share: prctl, signals, out-of-memory score."""

from __future__ import annotations

import os
import signal
from types import FrameType

from mpchat.linux import system

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_OOM_SCORE = "/proc/self/oom_score_adj"
_OOM_STEP = 200
_MAX_OOM_SCORE = 1000

IGNORED_BY_CHILDREN = (
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
"""Signals that a terminal or an operator may send to the whole group; only the supervisor acts."""


def become_subreaper() -> None:
    """Adopt the orphans among our descendants (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    system.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel signal this process when its parent ends in any way (PR_SET_PDEATHSIG)."""
    system.prctl(_PR_SET_PDEATHSIG, number)


def has_terminal() -> bool:
    """Return whether the process has a controlling terminal, which sends it signals by itself."""
    try:
        system.close(system.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def ignore_group_signals() -> None:
    """Leave the signals of the group to the supervisor.

    A handler that does nothing ignores them: programs that an author's code starts would inherit SIG_IGN.
    """
    for number in IGNORED_BY_CHILDREN:
        system.sigaction(number, _do_nothing)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    return


def die_before_the_supervisor() -> None:
    """Make the kernel kill this process rather than the supervisor when memory runs out.

    Sets oom_score_adj, see proc(5). The supervisor replaces a killed process.
    """
    try:
        descriptor = system.open(_OOM_SCORE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # /proc is not mounted.
    try:
        score = min(int(system.read(descriptor, 16)) + _OOM_STEP, _MAX_OOM_SCORE)
        system.write(descriptor, str(score).encode())
    except OSError:
        # A sandbox may forbid it; the service also runs without.
        return
    finally:
        system.close(descriptor)
