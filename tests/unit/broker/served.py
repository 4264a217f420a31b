"""A broker's process, as the template would fork it, with a history of 4 MiB.

python -m tests.unit.broker.served CHANNEL SCOREBOARD FAULT HISTORY LOG
"""

from __future__ import annotations

import socket
import sys

from mpchat.broker.process import run_broker
from mpchat.ipc.channel import Channel
from mpchat.ipc.messages import BrokerDescriptors, ForkBroker
from mpchat.logs.options import LoggerOptions, LoggingOptions
from mpchat.rooms.options import RoomsOptions

if __name__ == "__main__":
    channel, scoreboard, fault, history = map(int, sys.argv[1:5])
    run_broker(
        ForkBroker(number=1, log_levels={}, log_locations={}),
        Channel(socket.socket(fileno=channel)),
        BrokerDescriptors(channel, scoreboard, fault, history),
        LoggingOptions(loggers={"default": LoggerOptions(file_path=sys.argv[5])}),
        RoomsOptions(),
        heartbeat=0.05,
    )
