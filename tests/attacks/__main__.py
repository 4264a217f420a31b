"""`make attack`: every attack in full: 2,000 attackers beside 100 honest clients.

``--short`` is what `make test` does; names choose attacks; ``--write FILE`` prints the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.attacks.attack import FULL, SHORT, run
from tests.attacks.kinds import attacks
from tests.attacks.page import page


def main() -> int:
    """Return 0 if every bar holds."""
    names = [attack.name for attack in attacks(FULL.attackers, FULL.honest)]
    parser = argparse.ArgumentParser(prog="python -m tests.attacks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--short", action="store_true", help="the short form")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page")
    options = parser.parse_args()
    unknown = set(options.names) - set(names)
    if unknown:
        parser.error(f"there is no attack {', '.join(sorted(unknown))}")
    scale = SHORT if options.short else FULL
    results = []
    for attack in attacks(scale.attackers, scale.honest):
        if attack.name not in (options.names or names):
            continue
        print(f"{attack.name}: {attack.what}", flush=True)
        with tempfile.TemporaryDirectory(prefix="mpchat-attack-") as folder:
            outcome = run(attack, Path(folder), scale)
        for name, number in outcome.numbers.items():
            print(f"    {name}: {number}")
        for failure in outcome.failures:
            print(f"    MISSED: {failure}", flush=True)
        results.append((attack, outcome))
    if options.write is not None:
        options.write.write_text(page(results, scale))
    return 1 if any(outcome.failures for _attack, outcome in results) else 0


if __name__ == "__main__":
    sys.exit(main())
