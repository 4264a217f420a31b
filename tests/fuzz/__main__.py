"""``python -m tests.fuzz --seconds 300``: until time is up or a mistake is found."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections import Counter
from collections.abc import Callable

from tests.fuzz.bodies import compare_bodies, make_body
from tests.fuzz.comparing import Mistake, compare
from tests.fuzz.frames import Frames
from tests.fuzz.making import make

KINDS = ("handshakes", "bodies", "frames")


def main() -> int:
    """Fuzz, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="for all kinds together")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--only", choices=KINDS, help="by default all")
    options = parser.parse_args()
    kinds = [options.only] if options.only else KINDS
    with asyncio.Runner() as runner:
        for kind in kinds:
            match kind:
                case "handshakes":
                    try_one = _handshakes(options.seed)
                case "bodies":
                    try_one = _bodies(options.seed)
                case _:
                    try_one = _frames(options.seed, runner)
            if not _fuzz(f"seed {options.seed}, {kind}", try_one, options.seconds / len(kinds)):
                return 1
    return 0


def _handshakes(seed: int) -> Callable[[Counter[str]], None]:
    rng = random.Random(seed)
    return lambda differences: compare(make(rng), differences)


def _bodies(seed: int) -> Callable[[Counter[str]], None]:
    rng = random.Random(seed)
    return lambda differences: compare_bodies(make_body(rng), rng, differences)


def _frames(seed: int, runner: asyncio.Runner) -> Callable[[Counter[str]], None]:
    frames = Frames(seed)
    return lambda differences: runner.run(frames.compare(differences))


def _fuzz(title: str, try_one: Callable[[Counter[str]], None], seconds: float) -> bool:
    """Print what was decided otherwise by others, and the mistake; return whether there was none."""
    end = time.monotonic() + seconds
    differences: Counter[str] = Counter()
    count = 0
    try:
        while time.monotonic() < end:
            try_one(differences)
            count += 1
    except Mistake as mistake:
        print(f"{title}, number {count}: {mistake}")
        return False
    print(f"{title}: {count} tried, no mistake; decided otherwise by others:")
    for name, times in differences.most_common():
        print(f"{times:8} {name}")
    return True


if __name__ == "__main__":
    sys.exit(main())
