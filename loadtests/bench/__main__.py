"""``make bench-quick``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from .load import Load, Outcome, compile_client
from .servers import SERVERS, running

ROWS = {
    "32 B, 64": ["--connections", "64"],
    "32 B, 64 x 16": ["--connections", "64", "--in-flight", "16"],
}
QUICK = ["uvloop TCP", "mpchat", "picows, callbacks", "picows.websockets"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("servers", nargs="*", default=QUICK)
    options = parser.parse_args()
    server_core, client_core = sorted(os.sched_getaffinity(0))[:2]
    with tempfile.TemporaryDirectory() as name:
        client, _ = compile_client(Path(name))
        for row, arguments in ROWS.items():
            cost: dict[str, list[tuple[float, Outcome]]] = {}
            with ExitStack() as stack:
                up = []
                for server in SERVERS:
                    if server.name in options.servers:
                        folder = Path(name) / f"{row} {server.name}"
                        folder.mkdir()
                        up.append(stack.enter_context(running(server, folder, server_core)))
                for _ in range(options.rounds):
                    for target in up:
                        flags = ["--raw"] if target.server.raw else []
                        flags += ["--upper"] if target.server.upper else []
                        command = [*client, *arguments, *flags, str(target.port)]
                        with Load(command, client_core) as load:
                            load.run(0.2)
                            before = target.cpu_ns()
                            outcome = load.run(options.seconds)
                            us = (target.cpu_ns() - before) / outcome.done / 1000
                        cost.setdefault(target.server.name, []).append((us, outcome))
            for server_name, values in cost.items():
                pairs = zip(values, cost["uvloop TCP"], strict=True)
                print(
                    f"{row:15} {server_name:18} {median(us for us, _ in values):7.2f} us"
                    f"  x {median(us / base for (us, _), (base, _) in pairs):5.2f}"
                    f"  client {median(seen.client_cpu_us for _, seen in values):5.2f} us",
                    flush=True,
                )
    return 0


sys.exit(main())
