"""What every forked process of ours does with the system the same way: prctl and signals."""

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
"""A terminal or an impatient operator may signal the whole group; only the supervisor acts."""


def become_subreaper() -> None:
    """Make orphans among our descendants our own children (prctl(2), PR_SET_CHILD_SUBREAPER)."""
    system.prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent() -> None:
    """Be killed when the parent ends, however it ends (prctl(2), PR_SET_PDEATHSIG)."""
    system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def has_terminal() -> bool:
    """Whether the process has a controlling terminal, which signals it on its own account."""
    try:
        system.close(system.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def ignore_group_signals() -> None:
    """Leave to the supervisor what is meant for it.

    A handler does nothing: programs that an author's code starts would inherit SIG_IGN.
    """
    for number in IGNORED_BY_CHILDREN:
        system.sigaction(number, _do_nothing)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    return


def die_before_the_supervisor() -> None:
    """Let the kernel choose this process, not the supervisor, when memory runs out.

    That is oom_score_adj, see proc(5). Whoever is killed is replaced, by the supervisor.
    """
    try:
        descriptor = system.open(_OOM_SCORE, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return  # Without /proc nobody can say.
    try:
        score = min(int(system.read(descriptor, 16)) + _OOM_STEP, _MAX_OOM_SCORE)
        system.write(descriptor, str(score).encode())
    except OSError:
        # A sandbox may forbid it; the service runs as well without.
        return
    finally:
        system.close(descriptor)
