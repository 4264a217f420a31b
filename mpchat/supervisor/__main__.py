"""``python -m mpchat.supervisor COMMAND …``: what the command execs; COMMAND is its own line."""

from __future__ import annotations

import sys

from mpchat.errors import ExitCode, describe_os_error
from mpchat.supervisor.log import say
from mpchat.supervisor.supervisor import Supervisor


def main(command: list[str]) -> int:
    """Run a service with this command line; return the exit code."""
    try:
        supervisor = Supervisor(command)
    except OSError as error:
        say(f"mpchat: the system refuses what a service needs: {describe_os_error(error)}")
        return ExitCode.OS
    return supervisor.run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
