"""Let system calls of a real service fail, one in each life, and see what is left of it.

By default every call site and errno is tried at its first, a middle and its last occurrence, as
`make chaos` does; ``--all`` tries every occurrence. ``--seconds`` stops after that time, in an order that
``--seed`` shuffles.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice
from pathlib import Path

from tests.injection.calls import errnos_of
from tests.injection.scenario import Injection, Record, inject, record

_AT_A_TIME = 4
"""A life mostly waits for its own processes."""
_PROGRESS = 100
"""After so many lives it is told how far it is."""


def injections(recorded: Record, *, every: bool) -> list[Injection]:
    """Return what can fail in a life with these calls."""
    return [
        Injection(role, name, site, occurrence, errno)
        for (role, name, site), count in sorted(Counter(recorded.calls).items())
        for errno in errnos_of(name)
        for occurrence in (range(1, count + 1) if every else sorted({1, (count + 1) // 2, count}))
    ]


def run(
    chosen: Iterable[Injection], recorded: Record, folder: Path, seconds: float
) -> Iterator[tuple[Injection, bool, list[str], str]]:
    """Yield each injection, whether it happened, what did not hold, and the service's log."""
    end = time.monotonic() + seconds
    waiting = enumerate(chosen)

    def one(number: int, injection: Injection) -> tuple[Injection, bool, list[str], str]:
        own = folder / str(number)
        own.mkdir()
        hit, problems = inject(own, injection, recorded.descriptors)
        return injection, hit, problems, (own / "stderr.log").read_text(errors="replace")

    with ThreadPoolExecutor(_AT_A_TIME) as pool:
        running = {pool.submit(one, *item) for item in islice(waiting, _AT_A_TIME)}
        while running:
            done = next(as_completed(running))
            running.remove(done)
            yield done.result()
            if time.monotonic() < end and (item := next(waiting, None)) is not None:
                running.add(pool.submit(one, *item))


def main() -> int:
    """Return 0 if everything held."""
    parser = argparse.ArgumentParser(prog="python -m tests.injection", description=__doc__)
    parser.add_argument("sites", nargs="*", metavar="TEXT", help="only what contains all of these")
    parser.add_argument("--all", action="store_true", help="every occurrence")
    parser.add_argument("--list", action="store_true", help="print what would be tried")
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mpchat-injection-") as name:
        folder = Path(name)
        (folder / "record").mkdir()
        begun = time.monotonic()
        recorded = record(folder / "record")
        calls = recorded.calls
        print(f"a life has {len(calls)} calls from {len(set(calls))} sites", flush=True)
        chosen = injections(recorded, every=options.all)
        chosen = [item for item in chosen if all(text in str(item) for text in options.sites)]
        random.Random(options.seed).shuffle(chosen)
        print(f"{len(chosen)} injections", flush=True)
        if options.list:
            print(*chosen, sep="\n")
            return 0
        happened, failed, tried = 0, 0, 0
        for injection, hit, problems, log in run(chosen, recorded, folder, options.seconds):
            tried += 1
            happened += hit
            if problems:
                failed += 1
                print(f"FAILED {injection}\n    " + "\n    ".join(problems), flush=True)
                print("        " + "\n        ".join(log.splitlines()[-40:]), flush=True)
            if tried % _PROGRESS == 0:
                print(f"{tried} lives, {failed} failed", flush=True)
        minutes = (time.monotonic() - begun) / 60
        print(f"{tried} lives, {happened} with the injection, {failed} failed, {minutes:.1f} min")
        return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
