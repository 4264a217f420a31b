"""The folder that the service was started in, by the name that was used for it.

Rules. A deploy turns a symbolic link such as ``current`` to the next release. The kernel knows only the
folder that the link led to at the start, which a restart would load again, or would not find any more.
The shell's ``PWD`` knows the link.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from mpchat.linux import system


def started_in(environment: Mapping[str, str]) -> str:
    """Return the current folder by its name in ``PWD``, if that is true, else by the kernel's.

    The rule is that of POSIX for ``pwd -L``.

    Raises:
        FileNotFoundError: The folder does not exist any more.
        OSError: The system does not tell.
    """
    here = system.getcwd()
    named = environment.get("PWD", "")
    if not os.path.isabs(named) or {".", ".."} & set(named.split("/")):
        return here
    try:
        found, current = system.stat(named), system.stat(here)
    except OSError:
        return here
    same = (found.st_dev, found.st_ino) == (current.st_dev, current.st_ino)
    return named if same else here


def by_name(path: str, environment: Mapping[str, str]) -> str:
    """Return a path below the current folder by the name of that folder, any other as it is.

    Raises:
        OSError: As of ``started_in``.
    """
    here, named = os.path.join(system.getcwd(), ""), os.path.join(started_in(environment), "")
    return named + path[len(here) :] if path.startswith(here) else path
