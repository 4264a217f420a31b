"""The servers: what they are called, and their command lines, as their authors give them.

Rules. One worker process each, but in the row of two. Shipped defaults, except what is said here: uvloop
where the server is in Python, no compression but in its rows (the client offers it there alone), no
access log, log level warning; for messages beyond 64 KiB two limits of mpchat are raised; at rest each
pings as often as mpchat. In rows of TLS each has a certificate and its key, and speaks TLS 1.2 as well.
In rows of rooms each runs the room of its documentation, with what that needs beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from . import node

PEERS = Path(__file__).with_name("peers")
REDIS = "redis-server"
CERTIFICATE, KEY = "cert.pem", "key.pem"
PING_SECONDS = 20  # the default of most; the peers that have another, or none, are told so

Setting = Literal["plain", "deflate", "pings", "tls", "rooms", "spread", "joining", "storm"]
ROOM_SETTINGS = ("rooms", "spread", "joining")


@dataclass(frozen=True)
class Server:
    """One server of the benchmark.

    Attributes:
        name: As it is printed.
        command: The words after ``python`` or ``node``; PORT stands for the port, PEERS for that
            folder, WORKERS for the number of workers.
        package: The distribution whose version is reported.
        plain: Further words, for all rows but those below; None if it is in none of them.
        deflate: Further words that turn permessage-deflate on; None where there is none.
        pings: Further words that have it ping every connection; None where it cannot.
        tls: Further words that have it speak TLS, with the files that ``running`` wants in its folder;
            None if it is in none of those rows.
        rooms: The words that run its room, in place of ``command``; None where there is none.
        spread: The same for a room over two workers.
        joining: The same for connections that join rooms when they are told to.
        storm: The same for storms of clients, with a handler that takes its time.
        raw: Whether it echoes TCP instead of speaking WebSocket.
        echo: Whether it is an echo in a row of rooms.
        socketio: Whether its rooms speak Socket.IO.
        redis: Whether its rooms need Redis.
        upper: Whether it answers in capitals.
        interpreted: Whether it is mpchat without its compiled modules.
        untimed: Whether it is mpchat without the time of answers.
        on_node: Whether it runs on Node.js.
        quick: Whether ``make bench-quick`` has it.
    """

    name: str
    command: str
    package: str
    plain: str | None = ""
    deflate: str | None = None
    pings: str | None = None
    tls: str | None = None
    rooms: str | None = None
    spread: str | None = None
    joining: str | None = None
    storm: str | None = None
    raw: bool = False
    echo: bool = False
    socketio: bool = False
    redis: bool = False
    upper: bool = False
    interpreted: bool = False
    untimed: bool = False
    on_node: bool = False
    quick: bool = False

    @property
    def mpchat(self) -> bool:
        """Whether it is ours."""
        return self.package == "mpchat"

    def environment(self, setting: Setting) -> dict[str, str]:
        """Return what its environment has beyond that of the benchmark."""
        path = {"PYTHONPATH": str(PEERS)} if "--app" in (self._words(setting) or []) else {}
        return path | ({"MPCHAT_COMPILED": "0"} if self.interpreted else {})

    def has(self, setting: Setting) -> bool:
        """Tell whether it can run so."""
        return self._words(setting) is not None

    def shown(self, setting: Setting) -> str:
        """Return its command line as it would be typed in a checkout."""
        words = [f"{name}={value}" for name, value in self.environment(setting).items()]
        words += ["node" if self.on_node else "python", *(self._words(setting) or [])]
        return (
            " ".join(words).replace(str(PEERS), "PEERS").replace("PEERS", "loadtests/bench/peers")
        )

    def command_line(self, python: str, port: int, setting: Setting, workers: int = 1) -> list[str]:
        """Return its command line for a port and so many workers."""
        places = {"PEERS": str(PEERS), "PORT": str(port), "WORKERS": str(workers)}
        words = self._words(setting) or []
        for name, value in places.items():
            words = [word.replace(name, value) for word in words]
        return [node.program() if self.on_node else python, *words]

    def _words(self, setting: Setting) -> list[str] | None:
        whole = {
            "rooms": self.rooms,
            "spread": self.spread,
            "joining": self.joining,
            "storm": self.storm,
        }
        further = {
            "plain": self.plain,
            "deflate": self.deflate,
            "pings": self.pings,
            "tls": self.tls,
        }
        if setting in whole:
            words = whole[setting]
            return None if words is None else words.split()
        more = further[setting]
        return None if more is None else [*self.command.split(), *more.split()]


UVICORN = (
    "-m uvicorn --app-dir PEERS asgi_echo:app --port PORT --loop uvloop --http httptools"
    " --ws websockets-sansio --log-level warning --ws-per-message-deflate"
)
GUNICORN = (
    "-m gunicorn --pythonpath PEERS asgi_echo:app --bind 127.0.0.1:PORT --worker-class asgi"
    " --workers 1 --asgi-loop uvloop --log-level warning"
)
GRANIAN = (
    "-m granian --interface rsgi --working-dir PEERS rsgi_echo:app --port PORT --loop uvloop"
    " --workers 1 --log-level warning"
)
REDIS_ROOM = (
    "PEERS/beside_redis.py -m uvicorn --app-dir PEERS {}_room:app --port PORT --workers WORKERS"
    " --loop uvloop --http httptools --ws websockets-sansio --ws-per-message-deflate false"
    " --log-level warning"
)
MPCHAT = "-m mpchat serve -c static_config.yaml"

BASE = Server(
    "uvloop TCP",
    "PEERS/tcp_echo.py PORT",
    "uvloop",
    deflate="",
    rooms="PEERS/tcp_room.py PORT",
    spread="PEERS/tcp_room.py PORT",
    raw=True,
    quick=True,
)
BASE_TLS = Server(
    "uvloop TLS", "PEERS/tcp_echo.py PORT tls", "uvloop", plain=None, tls="", raw=True
)
OURS = Server(
    "mpchat",
    MPCHAT,
    "mpchat",
    deflate="",
    pings="",
    tls="",
    rooms=MPCHAT,
    spread=MPCHAT,
    joining=f"{MPCHAT} --app mpchat_joining:components",
    storm=f"{MPCHAT} --app mpchat_burning:components",
    quick=True,
)
INTERPRETED = Server(
    "mpchat, interpreted",
    MPCHAT,
    "mpchat",
    deflate="",
    pings="",
    rooms=MPCHAT,
    interpreted=True,
)
UNTIMED = Server(
    "mpchat, untimed", f"{MPCHAT} --app mpchat_untimed:components", "mpchat", untimed=True
)
ECHO = Server("mpchat's echo", MPCHAT, "mpchat", plain=None, spread=MPCHAT, echo=True)
UPPER = Server("mpchat, upper", f"{MPCHAT} --app mpchat_upper:components", "mpchat", upper=True)
NODE = Server(
    "ws on Node.js",
    "PEERS/ws_echo.mjs PORT",
    "ws",
    deflate="deflate",
    pings=f"pings {PING_SECONDS}",
    rooms="PEERS/ws_room.mjs PORT",
    on_node=True,
)
CHANNELS = Server(
    "Django Channels",
    "",
    "channels",
    plain=None,
    rooms=REDIS_ROOM.format("channels"),
    spread=REDIS_ROOM.format("channels"),
    redis=True,
)
SOCKETIO = Server(
    "python-socketio",
    "",
    "python-socketio",
    plain=None,
    rooms=REDIS_ROOM.format("socketio"),
    spread=REDIS_ROOM.format("socketio"),
    socketio=True,
    redis=True,
)
SERVERS = (
    BASE,
    BASE_TLS,
    OURS,
    INTERPRETED,
    UNTIMED,
    ECHO,
    UPPER,
    Server(
        "picows callbacks",
        "PEERS/picows_callbacks_echo.py PORT",
        "picows",
        pings=f"pings {PING_SECONDS}",
        tls="tls",
        rooms="PEERS/picows_callbacks_room.py PORT",
        quick=True,
    ),
    Server(
        "picows.websockets",
        "PEERS/picows_websockets_echo.py PORT",
        "picows",
        deflate="deflate",
        pings="",
        rooms="PEERS/picows_websockets_room.py PORT",
        quick=True,
    ),
    Server(
        "aiohttp",
        "PEERS/aiohttp_echo.py PORT",
        "aiohttp",
        deflate="deflate",
        pings=f"pings {PING_SECONDS}",
    ),
    Server(
        "websockets",
        "PEERS/websockets_echo.py PORT",
        "websockets",
        deflate="deflate",
        pings="",
        rooms="PEERS/websockets_room.py PORT",
    ),
    Server(
        "uvicorn",
        UVICORN,
        "uvicorn",
        plain="false",
        deflate="true",
        pings="false",
        tls=f"false --ssl-certfile {CERTIFICATE} --ssl-keyfile {KEY}",
    ),
    Server("gunicorn", GUNICORN, "gunicorn"),
    Server(
        "granian",
        GRANIAN,
        "granian",
        tls=f"--ssl-certificate {CERTIFICATE} --ssl-keyfile {KEY} --ssl-protocol-min tls1.2",
    ),
    Server(
        "asyncio TLS",
        "PEERS/tcp_echo.py PORT tls asyncio",
        "python",
        plain=None,
        tls="",
        raw=True,
    ),
    NODE,
    CHANNELS,
    SOCKETIO,
)
