"""ClientHellos whose handshakes never end, always so many under way: what the connected see meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..running import Place, running
from ..servers import MPCHAT, SERVERS, Server
from ..storm.measuring import Clients, both_sides
from .certificates import put_certificate

AT_ONCE = 64
UNQUEUED = Server(
    "mpchat, no queue",
    f"{MPCHAT} --app mpchat_unqueued:components",
    "mpchat",
    plain=None,
    tls="",
)
"""What the queue of handshakes is worth"""
STORMED = [server for server in (*SERVERS, UNQUEUED) if server.has("tls") and not server.raw]

Storm = dict[str, Any]
"""``server``, ``round``, and the phases ``quiet`` and ``storm``, as ``bench.storm`` has them"""


def stormed(server: Server, folder: Path, place: Place, clients: Clients, seconds: int) -> Storm:
    """Measure so many seconds without a storm, and with it.

    Args:
        server: Which.
        folder: An empty one for its files.
        place: Where it runs.
        clients: Compiled with OpenSSL.
        seconds: The time of each.
    """
    put_certificate(folder, "EC")
    with (
        running(server, folder, place, setting="tls") as target,
        both_sides(target, clients, ["tls"], ["hellos"]) as sides,
    ):
        sides.measure(1)
        quiet = sides.measure(seconds)
        sides.come(1 + seconds, -AT_ONCE)
        sides.measure(1)
        storm = sides.measure(seconds)
        storm["seconds"] = sides.came()[1:]
    return {"server": server.name, "quiet": quiet, "storm": storm}
