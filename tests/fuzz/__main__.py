"""``python -m tests.fuzz --seconds 300``: until time is up or a mistake is found."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections import Counter

from tests.fuzz.comparing import Mistake, compare
from tests.fuzz.making import make


def main() -> int:
    """Fuzz, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    end = time.monotonic() + options.seconds
    differences: Counter[str] = Counter()
    count = 0
    try:
        while time.monotonic() < end:
            compare(make(rng), differences)
            count += 1
    except Mistake as mistake:
        print(f"seed {options.seed}, request {count}: {mistake}")
        return 1
    print(
        f"seed {options.seed}: {count} requests, no mistake; decided otherwise by h11 and wsproto:"
    )
    for name, times in differences.most_common():
        print(f"{times:8} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
