"""``python -m mpchat.supervisor COMMAND …``: what the command execs; COMMAND is its own line."""

from __future__ import annotations

import sys

from mpchat.supervisor.supervisor import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
