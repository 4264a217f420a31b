"""``python -m mpchat.supervisor COMMAND …``: what the command execs; COMMAND is its own line."""

from __future__ import annotations

import sys

from mpchat.supervisor.supervisor import Supervisor

if __name__ == "__main__":
    sys.exit(Supervisor(sys.argv[1:]).run())
