"""``python -m mpchat``: the same as the command ``mpchat``."""

from __future__ import annotations

from mpchat.cli.verbs import main

if __name__ == "__main__":
    main()
