"""`make chaos`: every torture in full, and once more for each measure without which it has to fail.

``--short`` is what `make test` does; names choose tortures; ``--write FILE`` prints the page.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.chaos.catalogue import TORTURES
from tests.chaos.page import Result, here, write
from tests.chaos.torture import BRIEF, FULL, SHORT, Outcome, Scale, Torture


def main() -> int:
    """Return 0 if every bar holds and is missed without its measures."""
    names = [torture.name for torture in TORTURES]
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names))
    parser.add_argument("--short", action="store_true", help="the short form")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page")
    options = parser.parse_args()
    unknown = set(options.names) - set(names)
    if unknown:
        parser.error(f"there is no torture {', '.join(sorted(unknown))}")
    scale = SHORT if options.short else FULL
    results = [
        _try(torture, scale) for torture in TORTURES if torture.name in (options.names or names)
    ]
    if options.write is not None:
        write(options.write, TORTURES, results)
    return 0 if all(result.holds for result in results) else 1


def _try(torture: Torture, scale: Scale) -> Result:
    print(f"{torture.name}: {torture.what}", flush=True)
    where = here("full" if scale is FULL else "short")
    outcome = _run(torture, scale, "")
    for name, number in outcome.numbers.items():
        print(f"    {name}: {number}")
    for failure in outcome.failures:
        print(f"    MISSED: {failure}")
    missed = {}
    for measure, words in torture.without.items():
        failures = _run(torture, BRIEF if scale is FULL else scale, measure).failures
        missed[measure] = failures
        print(f"    without ({words}): {failures[0] if failures else 'NOTHING MISSED'}", flush=True)
    return Result(torture.name, outcome.numbers, outcome.failures, missed, where)


def _run(torture: Torture, scale: Scale, measure: str) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="mpchat-chaos-") as folder:
        return torture.run(Path(folder), scale, measure)


if __name__ == "__main__":
    sys.exit(main())
